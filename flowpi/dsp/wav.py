"""Writes and reads the 44 bytes that turn a piece of PCM into a WAV.

Flow carries each packet as a complete WAV (most clients) or as bare PCM (`reference`: both are observed).
`flowpi.audio.wav` reads whole files, with PCM of any format.
"""

import struct
from collections.abc import Iterator

from flowpi.dsp.format import RATE_HZ

HEADER_BYTES = 44


class WavError(ValueError):
    """A RIFF header that announces something other than int16 mono 16 kHz, or is cut off."""


def wav_header(pcm_bytes: int) -> bytes:
    """Return the header of an int16 mono 16 kHz WAV with `pcm_bytes` bytes of audio."""
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF", 36 + pcm_bytes, b"WAVE", b"fmt ", 16, 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16, b"data", pcm_bytes,
    )  # fmt: skip


def wav_payload(packet: bytes) -> memoryview:
    """Return the PCM of a packet: what follows its WAV header, or the whole packet if it has none.

    Raises:
        WavError: the packet has a header, but its audio is not int16 mono 16 kHz.
    """
    view = memoryview(packet)
    if packet[:4] != b"RIFF" or packet[8:12] != b"WAVE":
        return view
    known = False
    for name, chunk in riff_chunks(packet):
        if name == b"fmt " and len(chunk) >= 16:
            form, channels, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", chunk)
            if (form, channels, rate_hz, bits) != (1, 1, RATE_HZ, 16):
                raise WavError(f"WAV packet is {rate_hz} Hz, {channels} channels, {bits} bits; 16000 Hz, 1, 16 needed")
            known = True
        elif name == b"data" and known:
            return chunk
    raise WavError("WAV packet is cut off before its data")


def riff_chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the names and contents of the chunks of a RIFF file, in order.

    A streamed WAV may announce more than it holds: its last chunk then contains what is there.
    """
    view, at = memoryview(data), 12
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        yield name, view[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
