"""Short tones for who does not see the LED: which there are, and what plays them."""

import enum
from typing import Protocol


class Cue(enum.Enum):
    START = "start"
    STOP = "stop"
    KEPT = "kept"
    ERROR = "error"


class Cues(Protocol):
    def play(self, cue: Cue) -> None:
        """Instead of one that is being played. Never fails, never waits."""

    def stop(self) -> None:
        """Silence. Harmless when nothing plays."""

    def close(self) -> None:
        """For ever."""


class NoCues:
    def play(self, cue: Cue) -> None:
        pass

    def stop(self) -> None:
        pass

    def close(self) -> None:
        pass
