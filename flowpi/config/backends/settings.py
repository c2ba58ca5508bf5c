"""The contract of a backend's settings, whatever its kind."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol


class Contradiction(NamedTuple):
    """Settings that cannot hold together: the key to change, what is wrong with it, and what to do."""

    key: str
    problem: str
    hint: str


class BackendSettings(Protocol):
    """The settings of one backend: a frozen struct of msgspec, whose tag in `kind` names its row in `KINDS`."""

    @property
    def endpoint(self) -> str:
        """The URL of the service, without any key."""

    @property
    def on_this_machine(self) -> bool:
        """Whether a Unix socket leads to the service, so that the recogniser and its model must be on this machine."""

    def contradictions(self) -> Iterator[Contradiction]:
        """Yield what makes these settings unusable. The first one is shown to the user."""

    def warnings(self, key: str) -> Iterator[str]:
        """Yield what works but should not stay so, as "what is wrong: what to do".

        `key`: the dotted key of these settings, with which a warning begins.
        """
