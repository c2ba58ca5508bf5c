"""`flowpi doctor`: one finding for each fault, each with the line that mends it.

A file for each part that is looked at; `run.py` asks them all, none waits for another, and one that hangs or
breaks hides none. What flowpi's daemon holds is asked of the daemon.
"""
