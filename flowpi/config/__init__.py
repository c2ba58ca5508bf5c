"""The configuration: its types, how it is read, and what may be wrong with it."""
