"""Opening ALSA devices for the length of a test."""

import time

from flowpi.audio.alsa import AlsaSource


class Opener:
    """Opens sources, and closes them when the test is over."""

    def __init__(self) -> None:
        self._sources: list[AlsaSource] = []

    def __call__(self, source: AlsaSource) -> AlsaSource:
        self._sources.append(source)
        source.open(time.monotonic())
        return source

    def close(self) -> None:
        for source in self._sources:
            source.close()
