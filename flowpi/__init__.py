"""flowpi: press a button, talk, read the text."""

__version__ = "0.1.0"
