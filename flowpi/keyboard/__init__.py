"""The keyboard: a client of the local socket that types each text, as a service of its own."""
