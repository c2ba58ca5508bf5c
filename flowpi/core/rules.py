"""The choices of the user by which the table of `appliance.py` decides."""

import enum

from msgspec import Struct

from flowpi.core.profiles import GestureProfiles

PAUSE_S = 10.0
"""How long before the greatest length of a part to look for a pause in the speech, where the next part can begin."""


class Mode(enum.Enum):
    """What a press of the button means: `button.mode`."""

    HOLD = "hold"
    TOGGLE = "toggle"
    AUTO = "auto"


class Rules(Struct, frozen=True):
    """The user's choices, from the configuration.

    Attributes:
        max_utterance_s: the greatest length of a part; longer speech continues in the next one.
        long_s: how long a press must last to mute; for messages only.
    """

    mode: Mode = Mode.AUTO
    max_utterance_s: float = 330.0
    finish_timeout_s: float = 30.0
    """How long Finishing waits for the text. The delivery itself goes on after that."""
    long_s: float = 10.0
    profiles: GestureProfiles = GestureProfiles()
    choose_s: float = 0.0
    """How long after a press its gesture may still choose another profile; less than a part lasts."""

    @property
    def pause_s(self) -> float:
        """How much of the end of a part to search for a pause: at most the last fifth."""
        return min(PAUSE_S, self.max_utterance_s / 5)
