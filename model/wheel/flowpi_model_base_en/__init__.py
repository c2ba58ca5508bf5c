"""Moonshine base (English) as int8, for the recogniser of flowpi, which finds the files by the name of this package."""
