"""Text to key strokes, for the layout of the computer that is typed into. Pure."""
