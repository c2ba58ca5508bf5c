"""What a backend is: something that can be asked for the text of one utterance.

An attempt that fails ends with a `BackendError`. Retrying it is never the business of the backend itself.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from msgspec import Struct

from flowpi.audio.denoise import Filter, unfiltered
from flowpi.audio.utterance import About, Utterance
from flowpi.backends.patience import Patience
from flowpi.backends.result import Timings
from flowpi.core.hints import Hints
from flowpi.wire.roles import FinalText, PartialText

PROBE = About("probe", 0.0)
"""The facts of an utterance that stands in while a backend is only probed."""


class Wishes(Struct, frozen=True):
    """What a profile wants of a backend.

    `hints`: instead of those of the environment. `language`: instead of that of the backend, best first; None: as that.
    """

    hints: Hints
    language: tuple[str, ...] | None = None


NO_PROFILES: Mapping[str, Wishes] = {}


class Environment(Struct, frozen=True):
    """What all backends of this appliance are made with.

    `hints`: sent with every dictation, as far as the service can use them. `device_id`: what this appliance calls
    itself. `profiles`: by name, what is wanted of a dictation with that profile. `filter`: makes the filter through
    which one session hears an utterance.
    """

    hints: Hints = Hints()
    filter: Callable[[], Filter] = unfiltered
    patience: Patience = Patience()
    device_id: str = "flowpi"
    profiles: Mapping[str, Wishes] = NO_PROFILES


class Backend(Protocol):
    """A configured backend. Call `start` once, then `transcribe` and `probe` in any number at once, then `close`."""

    @property
    def name(self) -> str: ...

    def start(self) -> None:
        """Fetch what the first press will need (keys, sessions) in the background. Attempts work without it, too."""

    async def transcribe(
        self, utterance: Utterance, on_partial: Callable[[PartialText], None], timings: Timings
    ) -> FinalText:
        """Send all of the utterance, from its first byte, and return its text.

        The utterance may still grow. The connection is closed in the background, after the text as after an error or
        a cancellation, which is safe at any time.

        `on_partial` is called with partial texts, on the loop. `timings` is filled in.

        Raises:
            BackendError: there is no text. `healed` is true if its cause has been removed.
        """

    async def probe(self) -> None:
        """Open a session as for a dictation and close it again, without audio.

        Raises:
            BackendError: the error that a dictation would end with.
        """

    def user_key(self) -> str | None:
        """Return the secret that the user set, as it is now, or None if there is none.

        It is the key, or the secret that a key is fetched with. A refused key is tried again once it changes.
        """

    def forgive(self) -> None:
        """Use a key again that was refused: the user wants another attempt."""

    async def close(self) -> None:
        """End what `start` began, and wait for connections that are still being closed."""
