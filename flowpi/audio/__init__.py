"""The microphone: its drivers, and the capture that reads them."""
