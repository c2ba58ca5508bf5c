"""What the contract of backends needs of a service: moods that a test chooses, whatever the kind."""

import enum
from types import TracebackType
from typing import Protocol, Self

from flowpi.config.backends.settings import BackendSettings
from flowpi.config.secret import Secret

SLOW_S = 0.2
"""How long a slow service thinks."""


class Mood(enum.Enum):
    """How a service treats every contact from now on."""

    WORKS = "works"
    """It answers with a text that no other audio has."""
    SILENT = "silent"
    """It accepts the connection and whatever is sent, and says nothing."""
    SLOW = "slow"
    """It gives a partial text, thinks for `SLOW_S` after the end of the audio, and then gives the final one."""
    UNAUTHORIZED = "401"
    FORBIDDEN = "403"
    """It refuses the key with this HTTP status."""
    CUT = "cut"
    """The connection breaks in the middle of the audio, without a goodbye."""
    BUSY = "busy"
    """It asks to wait, in the words of its kind."""
    RUBBISH = "rubbish"
    """It says something that is not in its protocol."""


class Levers(Protocol):
    """A service on a port of 127.0.0.1 while its context is entered.

    Attributes:
        key: the only one that it accepts.
        asked: how often it was asked to transcribe; the fetching of keys and sessions does not count.
        heard: the audio of each connection, as far as it came.
    """

    mood: Mood
    key: str

    @property
    def asked(self) -> int: ...

    @property
    def heard(self) -> list[bytes]: ...

    def settings(self, key: Secret) -> BackendSettings:
        """Return the settings of a backend that uses this service with that key; also while the service is off."""

    def text(self, pcm: bytes) -> str:
        """Return the text that a backend of this kind must give for this audio."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
