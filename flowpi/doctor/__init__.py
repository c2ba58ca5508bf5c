"""`flowpi doctor`: reports one finding for each fault, with the command or advice that fixes it.

Each part that is checked has a file of its own. `run.py` runs all checks at once; one that hangs or fails does not hide
the others. A device that flowpi's daemon holds is checked by asking the daemon.
"""
