"""The spool: recorded utterances on disk until their text has been delivered."""
