"""Sound for tests of the dictation: no two seconds of it are the same."""

import hashlib
import random

from flowpi.audio.utterance import About, Utterance
from flowpi.dsp.format import BYTES_PER_S

ID = "01JAZZ00000000000000000000"


def noise(seconds: float, seed: int = 0) -> bytes:
    """Whole frames."""
    return random.Random(seed).randbytes(round(seconds * BYTES_PER_S) // 2 * 2)


def ulid(number: int) -> str:
    """Ids in order."""
    return f"01JAZZ{number:020d}"


def spoken(pcm: bytes, utterance_id: str = ID) -> Utterance:
    """One that is complete."""
    return Utterance(About(utterance_id, 1_700_000_000.0), pcm=pcm, complete=True)


def beginning(utterance_id: str = ID) -> Utterance:
    """One of which nothing was heard yet."""
    return Utterance(About(utterance_id, 1_700_000_000.0))


def echo(pcm: bytes, packet_ms: int = 100) -> str:
    """The text that the echo engine gives for `pcm`, its last packet padded."""
    packet = packet_ms * BYTES_PER_S // 1000
    heard = pcm + bytes(-len(pcm) % packet)
    duration_s, digest = len(heard) / BYTES_PER_S, hashlib.sha256(heard).hexdigest()
    return f"echo {duration_s:.3f} s, {len(heard) // 2} samples, sha256 {digest}"
