"""Cuts sound that is all there into parts that are short enough for a recogniser, in pauses. Called by `transcribe`.

A recording in progress is cut by `recorder.py`, at the same pauses.
"""

from collections.abc import Iterable, Iterator

from msgspec import Struct

from flowpi.core.appliance import Rules
from flowpi.dsp.format import BYTES_PER_S, FRAME_BYTES
from flowpi.dsp.level import rms
from flowpi.dsp.pauses import PIECE_FRAMES, Pauses

PIECE_BYTES = PIECE_FRAMES * FRAME_BYTES


class Part(Struct, frozen=True):
    """A part of a recording: where it begins, in seconds from the beginning, and its int16 mono 16 kHz PCM.

    The PCM belongs to whoever takes the part, and an `Utterance` uses it without copying.
    """

    start_s: float
    pcm: bytearray


def cut(blocks: Iterable[bytes], longest_s: float) -> Iterator[Part]:
    """Yield the sound in parts of at most `longest_s`, without gap or overlap. At most one part is held in memory.

    A part ends at the first pause near its greatest length, in the time in which the daemon looks for one too. If there
    is none, it ends where the speech in this time is softest.

    Args:
        blocks: int16 mono 16 kHz PCM in whole frames, from the first sample on.
        longest_s: the greatest length of a part, at least 1 s.
    """
    longest = int(longest_s * BYTES_PER_S) // PIECE_BYTES * PIECE_BYTES
    earliest = longest - int(Rules(max_utterance_s=longest_s).pause_s * BYTES_PER_S)
    waiting, done = bytearray(), 0
    part, pauses, softest = bytearray(), Pauses(), (1.0, 0)
    for block in blocks:
        waiting += block
        while len(waiting) >= PIECE_BYTES:
            piece = bytes(waiting[:PIECE_BYTES])
            del waiting[:PIECE_BYTES]
            part += piece
            pausing = pauses.feed(piece)
            if len(part) < earliest:
                continue
            softest = min(softest, (rms(piece), -len(part)))
            if pausing or len(part) >= longest:
                end = len(part) if pausing else -softest[1]
                waiting[:0] = part[end:]
                del part[end:]
                yield Part(done / BYTES_PER_S, part)
                done += end
                part, pauses, softest = bytearray(), Pauses(), (1.0, 0)
    part += waiting
    if part:
        yield Part(done / BYTES_PER_S, part)
