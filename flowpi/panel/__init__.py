"""The drivers of button and LED, which know nothing about dictation."""
