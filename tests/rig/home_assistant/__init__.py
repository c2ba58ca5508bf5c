"""A real Home Assistant, with no screen, no person and no network, on a machine of its own with its broker."""
