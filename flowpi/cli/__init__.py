"""The command line: the parser of all commands, and one file for each command."""
