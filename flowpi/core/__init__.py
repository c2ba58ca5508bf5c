"""The rules of a dictation appliance. Pure: time is an argument, and effects are returned as values."""
