"""Decodes the samples of a WAV file to int16, in the codings that need no library of their own. Pure.

`audioop` knows PCM, mu-law and A-law; numpy is imported for floating point only.
"""

import audioop
from typing import Literal, assert_never

from msgspec import Struct

from flowpi.dsp.pcm import to_16_bit

Form = Literal["pcm", "pcm_low", "float", "mulaw", "alaw"]
"""How a sample is written. `pcm_low`: the 24 bits of PCM are the low three bytes of four, as ALSA has them."""


class Coding(Struct, frozen=True):
    """How one sample is written: its form, its bytes, and whether the highest byte comes first."""

    form: Form
    width: int
    big_endian: bool = False


def decode(samples: bytes, coding: Coding) -> bytes:
    """Return whole samples as int16 little-endian, as many as there were; what is beyond full scale is clipped."""
    if coding.big_endian and coding.width > 1 and coding.form != "float":
        samples = audioop.byteswap(samples, coding.width)
    match coding.form:
        case "pcm":
            return to_16_bit(samples, coding.width)
        case "pcm_low":
            pcm = bytearray(len(samples) // 2)
            pcm[0::2], pcm[1::2] = samples[1::4], samples[2::4]
            return bytes(pcm)
        case "float":
            return _from_float(samples, coding)
        case "mulaw":
            return audioop.ulaw2lin(samples, 2)
        case "alaw":
            return audioop.alaw2lin(samples, 2)
        case never:
            assert_never(never)


def fills_four_bytes(samples: bytes, big_endian: bool = False) -> bool:
    """Return whether 24 bits in samples of four bytes use the highest one for more than a sign.

    The standard puts the 24 bits into the high three bytes. ALSA, and so `arecord -f S24_LE`, puts them into the low
    ones, with the same header. Sound that is quiet enough to be either counts as ALSA's, which makes it louder.
    """
    return bool((samples[0::4] if big_endian else samples[3::4]).strip(b"\0\xff"))


def _from_float(samples: bytes, coding: Coding) -> bytes:
    import numpy

    values = numpy.frombuffer(samples, f"{'>' if coding.big_endian else '<'}f{coding.width}")
    values = numpy.nan_to_num(values, nan=0.0, posinf=1.0, neginf=-1.0)
    pcm: bytes = (values * 32_768.0).round().clip(-32_768, 32_767).astype("<i2").tobytes()
    return pcm
