"""The counters and timings of this run, published as `stats`."""

import time
from typing import Protocol

from msgspec.structs import replace

from flowpi.audio.utterance import Utterance
from flowpi.backends.result import Timings
from flowpi.core import topics
from flowpi.publish import messages
from flowpi.publish.hub import Hub


class Losses(Protocol):
    """What a microphone lost since the start: how often, and how much.

    Attributes:
        lost_frames: at 16 kHz.
    """

    gaps: int
    lost_frames: int


class Statistics:
    """Counts since the start of the daemon. The timings are those of the latest dictation."""

    def __init__(self, hub: Hub, losses: Losses) -> None:
        self._hub = hub
        self._losses = losses
        self._stats = messages.Stats(messages.rfc3339(time.time()))

    def begun(self, utterance: Utterance) -> None:
        self._stats.dictations += utterance.about.part == 1

    def cancelled(self, utterance: Utterance) -> None:
        self._stats.cancelled += utterance.about.part == 1

    def dropped(self) -> None:
        self._stats.dropped += 1

    def delivered(self, utterance: Utterance) -> None:
        self._stats.delivered += not utterance.silent
        self.publish()

    def deferred(self) -> None:
        self._stats.deferred += 1

    def failed(self) -> None:
        self._stats.failed += 1

    def quarantined(self, count: int) -> None:
        """Set how many files lie in quarantine."""
        self._stats.quarantined = count
        self.publish()

    def timed(self, utterance: Utterance, timings: Timings, published_at: float) -> None:
        """Keep the timings of a dictation whose text was published at `published_at`, by the clock of the loop."""

        def ms(start: float | None, stop: float | None) -> float | None:
            return None if start is None or stop is None else round((stop - start) * 1000, 1)

        stats = self._stats
        if utterance.pressed_at is not None:
            stats.press_to_first_packet_ms = ms(utterance.pressed_at, timings.first_packet_at)
            stats.release_to_commit_ms = ms(utterance.released_at, timings.committed_at)
            stats.release_to_final_ms = ms(utterance.released_at, timings.final_at)
            stats.final_to_published_ms = ms(timings.final_at, published_at)

    def snapshot(self) -> messages.Stats:
        """Return a copy, which does not change any more."""
        return replace(self._stats, gaps=self._losses.gaps, lost_ms=self._losses.lost_frames // 16)

    def publish(self) -> None:
        self._hub.publish(topics.STATS, self.snapshot())
