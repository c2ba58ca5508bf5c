"""The microphone: drivers, and the capture that reads them."""
