"""What a backend is: something that can be asked for the text of one utterance.

An attempt that fails ends with a `BackendError`. A backend never retries anything itself.
"""

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from flowpi.audio.utterance import About, Utterance
from flowpi.backends.patience import Patience
from flowpi.backends.result import Timings
from flowpi.core.hints import Hints
from flowpi.wire.roles import FinalText, PartialText

PROBE = About("probe", 0.0)
"""Stands in the place of an utterance's facts while a backend is only probed."""


class Environment(Struct, frozen=True):
    """What all backends of this appliance are made with.

    `hints`: sent with every dictation, as far as the service can use them. `device_id`: what this appliance calls
    itself.
    """

    hints: Hints = Hints()
    patience: Patience = Patience()
    device_id: str = "flowpi"


class Backend(Protocol):
    """A backend, ready to be tried."""

    @property
    def name(self) -> str: ...

    def start(self) -> None:
        """Get what can be had before the first press: keys, sessions. In the background."""

    async def transcribe(
        self, utterance: Utterance, on_partial: Callable[[PartialText], None], timings: Timings
    ) -> FinalText:
        """Get the text. The connection is closed behind it, or behind an error, and nobody waits for that.

        Raises:
            BackendError: no text came of it. `healed` is true if what was wrong has been changed.
        """

    async def probe(self) -> None:
        """Open a session and close it again, with no audio.

        Raises:
            BackendError: that a dictation would end with.
        """

    def user_key(self) -> str | None:
        """The secret that its owner set, or that gets it a key, as it is now; None if there is none."""

    async def close(self) -> None:
        """End what `start` began, and wait for connections that are still being closed."""
