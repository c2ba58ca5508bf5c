"""A source that makes the sound of another one louder, for microphones without a gain of their own."""

import audioop
from collections.abc import Callable

from flowpi.audio.source import Heard, Source


class Amplified:
    """Another source, louder by `gain_db`. What would exceed full scale is cut off there, and counts as clipped."""

    def __init__(self, source: Source, gain_db: float) -> None:
        self._source = source
        self._factor = 10 ** (gain_db / 20)

    @property
    def name(self) -> str:
        return self._source.name

    @property
    def period_s(self) -> float:
        return self._source.period_s

    @property
    def held_s(self) -> float:
        return self._source.held_s

    @property
    def buffer_s(self) -> float:
        return self._source.buffer_s

    @property
    def has_noise(self) -> bool:
        return self._source.has_noise

    @property
    def trial(self) -> Callable[[], None] | None:
        return self._source.trial

    def open(self, now: float) -> None:
        self._source.open(now)

    def read(self, now: float) -> list[Heard]:
        heard = self._source.read(now)
        return [audioop.mul(piece, 2, self._factor) if isinstance(piece, bytes) else piece for piece in heard]

    def due(self, after: float) -> float:
        return self._source.due(after)

    def close(self) -> None:
        self._source.close()
