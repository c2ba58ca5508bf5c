"""The command of the user: a client of the local socket that runs a program for each text, as a service of its own."""
