"""`flowpi setup`: make a service of this installation, on this machine or in an image of one."""
