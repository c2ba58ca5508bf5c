"""The way from a recorded utterance to a published text, without loss."""
