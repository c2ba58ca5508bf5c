"""The short tones for a user who does not see the LED, the interface of what plays them, and the player."""

import enum
from typing import Protocol

from flowpi.audio.cue_mask import CueMask
from flowpi.config.schema import Config, CueSettings


class Cue(enum.Enum):
    START = "start"
    STOP = "stop"
    KEPT = "kept"
    ERROR = "error"


class Cues(Protocol):
    def play(self, cue: Cue) -> None:
        """Play a tone instead of the one that is playing. Never fails, never waits."""

    def stop(self) -> None:
        """Be silent. Harmless when nothing plays."""

    def close(self) -> None:
        """Release the device for good."""


class NoCues:
    def play(self, cue: Cue) -> None:
        pass

    def stop(self) -> None:
        pass

    def close(self) -> None:
        pass


class CuePlayer:
    """Plays on the device that the configuration names, and on another one after a reload."""

    def __init__(self, config: Config, mask: CueMask) -> None:
        """`mask`: silences the tones in what the microphone hears."""
        self._cue_mask = mask
        self._settings = config.cues
        self._cues = _make(config.cues, mask)

    def play(self, cue: Cue) -> None:
        self._cues.play(cue)

    def stop(self) -> None:
        self._cues.stop()

    async def apply(self, config: Config) -> None:
        """Use another device or volume if `cues` changed."""
        if config.cues != self._settings:
            self._settings = config.cues
            self._cues.close()
            self._cues = _make(config.cues, self._cue_mask)

    def close(self) -> None:
        self._cues.close()


def _make(settings: CueSettings, mask: CueMask) -> Cues:
    if settings.kind == "none":
        return NoCues()
    from flowpi.audio.tones import AlsaCues  # it has a thread and tables, which are only for users who want tones

    return AlsaCues(settings.device, settings.volume, mask)
