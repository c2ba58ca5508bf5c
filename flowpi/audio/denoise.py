"""Noise suppression by Speex, for a recogniser that steady noise confuses: a fan, a road, hum.

It filters what one reader of an utterance sends, and never the utterance itself: what is stored is what was heard.
"""

import importlib.util
import logging
from collections.abc import Callable
from typing import NamedTuple

from flowpi.dsp.format import FRAME_BYTES, RATE_HZ

log = logging.getLogger(__name__)

GET_SPEEX = "pip install 'flowpi[denoise]'"

FRAME_MS = 10
WHOLE_BYTES = RATE_HZ * FRAME_MS // 1000 * FRAME_BYTES

NOISE_DB = -15
"""How far noise is reduced at most. What the recogniser was measured with; more also takes of the speech."""
NO_GAIN = 0.0


class Filter(NamedTuple):
    """What sound passes. Stateful: one for each reader, from its first byte on.

    Attributes:
        change: returns as much PCM (int16 mono 16 kHz) as it is given.
        whole_bytes: it must be given multiples of this, but for the last piece.
    """

    change: Callable[[bytes], bytes]
    whole_bytes: int

    def __call__(self, pcm: bytes) -> bytes:
        return self.change(pcm)


def has_speex() -> bool:
    """Return whether the library is installed."""
    return importlib.util.find_spec("pyspeex_noise") is not None


def filters(denoise: str) -> Callable[[], Filter]:
    """Return what makes the filter that the configuration asks for, or none if its library cannot be used: texts
    matter more."""
    if denoise == "none":
        return unfiltered
    try:
        import pyspeex_noise  # noqa: F401  here, as a library that fails in a session would cost the text
    except ImportError as error:
        log.warning("audio.denoise has no effect, pyspeex-noise cannot be used (%s): %s", error, GET_SPEEX)
        return unfiltered
    return speex


def unfiltered() -> Filter:
    """Return the filter that changes nothing."""
    return Filter(bytes, FRAME_BYTES)


def speex() -> Filter:
    """Return a new filter. It gives the same bytes for the same sound, in whatever pieces that comes."""
    from pyspeex_noise import AudioProcessor

    frame = AudioProcessor(NO_GAIN, NOISE_DB).process_10ms

    def denoised(pcm: bytes) -> bytes:
        padded = pcm + bytes(-len(pcm) % WHOLE_BYTES)
        return b"".join(frame(padded[at : at + WHOLE_BYTES]) for at in range(0, len(padded), WHOLE_BYTES))[: len(pcm)]

    return Filter(denoised, WHOLE_BYTES)
