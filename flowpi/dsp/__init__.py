"""Arithmetic on PCM. Pure."""
