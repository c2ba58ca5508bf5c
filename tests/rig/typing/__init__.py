"""What a machine needs to see what a keyboard types: a reader, and a daemon that says what it is told."""
