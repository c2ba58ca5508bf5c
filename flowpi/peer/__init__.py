"""What a sink that is a process of its own has in common with others: its connections to the daemon, its reports."""
