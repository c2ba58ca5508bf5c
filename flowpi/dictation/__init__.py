"""From audio to text without loss: the utterance log, the spool, the attempts on a backend."""
