"""Cuts sound that is all there into parts, in pauses: as long as a recogniser allows, or phrase by phrase.

Called by `transcribe`. A recording in progress is cut by `recorder.py`, at the same pauses.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol

from msgspec import Struct

from flowpi.core.rules import Rules
from flowpi.dsp.format import BYTES_PER_S, FRAME_BYTES
from flowpi.dsp.level import rms
from flowpi.dsp.pauses import PIECE_FRAMES, Pauses, PausesInNoise

PIECE_BYTES = PIECE_FRAMES * FRAME_BYTES
PIECE_S = PIECE_BYTES / BYTES_PER_S

PHRASE_S = 15.0
"""The longest phrase: more does not fit on a screen, nor into one segment of `flowpi serve`."""


LEAD_PIECES = 3
"""How much of a pause is left before the speech that follows: its first sound may be soft."""


class Part(Struct, frozen=True):
    """A part of a recording: where it begins, in seconds from the beginning, and its int16 mono 16 kHz PCM.

    The PCM belongs to whoever takes the part, and an `Utterance` uses it without copying.
    """

    start_s: float
    pcm: bytearray


class Detector(Protocol):
    """Finds pauses."""

    def feed(self, pcm: bytes) -> bool:
        """Add the next piece, and return whether it is in a pause."""


class Rule(NamedTuple):
    """Where to cut.

    Attributes:
        longest_s: the greatest length of a part, at least 1 s.
        pause_s: returns how long a pause must be to end a part of a length in seconds; infinity: none ends it yet. For
            the greatest length it is at most `PIECE_S`.
        pauses: returns what finds the pauses of the next part.
    """

    longest_s: float
    pause_s: Callable[[float], float]
    pauses: Callable[[], Detector]


def whole(longest_s: float) -> Rule:
    """Return the rule for parts as long as possible: each ends at the first pause that the daemon would cut at too."""
    earliest_s = longest_s - Rules(max_utterance_s=longest_s).pause_s
    return Rule(longest_s, lambda length_s: PIECE_S if length_s >= earliest_s else math.inf, Pauses)


def phrases(longest_s: float) -> Rule:
    """Return the rule for the phrases of one recording: the longer a phrase, the shorter the pause that ends it."""
    longest_s, pauses = min(longest_s, PHRASE_S), PausesInNoise()
    return Rule(longest_s, lambda length_s: max(PIECE_S, 0.7 - 0.75 * length_s / longest_s), lambda: pauses)


def cut(blocks: Iterable[bytes], rule: Rule) -> Iterator[Part]:
    """Yield the sound in parts, without gap or overlap. At most one part is held in memory.

    A part ends shortly before the speech that follows a pause. If there is no pause, it ends where the speech near its
    greatest length is softest.

    Args:
        blocks: int16 mono 16 kHz PCM in whole frames, from the first sample on.
        rule: where to cut.
    """
    longest = int(rule.longest_s * BYTES_PER_S) // PIECE_BYTES * PIECE_BYTES
    waiting, done = bytearray(), 0
    part, pauses, quiet, softest = bytearray(), rule.pauses(), 0, (1.0, 0)
    for block in blocks:
        waiting += block
        while len(waiting) >= PIECE_BYTES:
            piece = bytes(waiting[:PIECE_BYTES])
            needed_s = rule.pause_s(len(part) / BYTES_PER_S)
            paused = quiet > 0 and quiet * PIECE_S >= needed_s - PIECE_S / 2
            pausing = pauses.feed(piece)
            if pausing or not paused:
                del waiting[:PIECE_BYTES]
                part += piece
                quiet = quiet + 1 if pausing else 0
                if needed_s <= PIECE_S:
                    softest = min(softest, (rms(piece), -len(part)))
                if len(part) < longest:
                    continue
            lead = min(quiet // 2, LEAD_PIECES) * PIECE_BYTES
            end = len(part) - lead if quiet else -softest[1]
            waiting[:0] = part[end:]
            del part[end:]
            yield Part(done / BYTES_PER_S, part)
            done += end
            part, pauses, quiet, softest = bytearray(), rule.pauses(), 0, (1.0, 0)
    part += waiting
    if part:
        yield Part(done / BYTES_PER_S, part)
