"""Services that turn an utterance into text: one file a kind, and what all kinds share."""
