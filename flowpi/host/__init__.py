"""The operating system: systemd, the journal, directories, sockets, mounts."""
