"""The local transcription server and its engines."""
