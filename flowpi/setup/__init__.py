"""`flowpi setup`: installs the services of this flowpi, on this machine or in a disk image."""
