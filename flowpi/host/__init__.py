"""What the operating system gives: systemd, directories."""
