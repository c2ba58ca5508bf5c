"""The button and the LED: drivers, and nothing about dictation."""
