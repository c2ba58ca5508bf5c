"""What a recogniser is, and the table of those there are.

An engine is loaded once and makes one `Recognition` for each utterance. Both are called on worker threads by
`app.py`, never on the loop; one recognition is never called from two threads at once, except `hurry`.
"""

from collections.abc import Sequence
from typing import Protocol


class Recognition(Protocol):
    """One utterance on its way to text."""

    def feed(self, pcm: bytes) -> str | None:
        """Hear more.

        Args:
            pcm: int16 little-endian mono 16 kHz, any length.

        Returns:
            The whole text so far if it is worth showing anew, else None.
        """

    def finish(self) -> str:
        """No more comes: the whole text, empty if nobody spoke. Called once."""

    def hurry(self) -> None:
        """`finish` is about to be called: give up any interim work in progress. Called from another thread."""


class Engine(Protocol):
    """A recogniser, loaded."""

    @property
    def language(self) -> str:
        """ISO 639-1 code of what it understands."""

    def recognition(self, language: Sequence[str]) -> Recognition:
        """Begin an utterance. `language`: what the client asked for, best first; empty for any."""
