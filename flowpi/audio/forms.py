"""Tells the form of a sound file by its first bytes, and what to do about one that cannot be read."""

import re
import shlex
from pathlib import Path

from flowpi.core.errors import DataError

HEAD_BYTES = 64
"""How many of the first bytes are needed."""

SMALLEST_BYTES = 20

STDIN_NAME = "standard input"
KINDS = "WAV, FLAC, Ogg, MP3, AIFF, AU or CAF"

FORMS = (
    (rb"(RIFF|RIFX|RF64|BW64)....WAVE", "WAV"),
    (rb"fLaC", "FLAC"),
    (rb"OggS", "Ogg"),
    (rb"ID3|\xff[\xe2-\xe7\xea-\xef\xf2-\xf7\xfa-\xff]", "MP3"),  # AAC has 00 where these have their layer
    (rb"FORM....AIF[FC]", "AIFF"),
    (rb"FORM....(8SVX|16SV)", "IFF"),
    (rb"\.snd|dns\.", "AU"),
    (rb"caff", "CAF"),
    (rb"riff\x2e\x91\xcf\x11", "W64"),
    (rb"NIST_1A", "NIST"),
    (rb"Creative Voice File", "VOC"),
)
"""The first bytes of each form that can be read."""

OTHERS = (
    (rb"....ftyp", "an M4A or MP4 file (AAC)"),
    (rb"\xff[\xf0\xf1\xf8\xf9]|ADIF", "an AAC file"),
    (rb"#!AMR", "an AMR file"),
    (rb"\x1a\x45\xdf\xa3", "a WebM or Matroska file"),
    (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a WMA file"),
    (rb"RIFF....AVI ", "an AVI file"),
    (rb"MThd", "a MIDI file: notes, and no sound"),
    (rb"wvpk", "a WavPack file"),
    (rb"MAC ", "a Monkey's Audio file"),
    (rb"\x02!L\x02|#!SILK_V3", "a SILK file"),
)
"""The first bytes of forms that only other programs read."""


def form_of(head: bytes, name: str) -> str:
    """Return the form of a file that begins with `head`.

    Raises:
        DataError: it cannot be read.
    """
    if not head:
        raise DataError(f"{name!r} is empty", "record it again, or give another file")
    if len(head) < SMALLEST_BYTES:
        raise DataError(f"{name!r} is no sound file: it has only {len(head)} bytes", f"give a {KINDS} file")
    for pattern, form in FORMS:
        if re.match(pattern, head, re.DOTALL):
            return form
    for pattern, what in OTHERS:
        if re.match(pattern, head, re.DOTALL):
            raise unusable(name, f"is {what}")
    looks = " (it looks like text)" if _is_text(head) else ""
    raise DataError(f"{name!r} is no sound file{looks}", f"give a {KINDS} file, or convert it to one")


def unusable(name: str, problem: str) -> DataError:
    """Return the error for a file that another program can convert."""
    if name == STDIN_NAME:
        command = "ffmpeg -i - -ar 16000 -ac 1 -f wav - | flowpi transcribe -"
    else:
        out = f"{Path(name).stem}-16k.wav"
        command = shlex.join(["ffmpeg", "-i", name, "-ar", "16000", "-ac", "1", "-c:a", "pcm_s16le", out])
    return DataError(f"{name!r} {problem}", f"convert it: {command}")


def _is_text(head: bytes) -> bool:
    text = head.decode("utf-8", "ignore")
    return (
        bool(text)
        and "\0" not in text
        and sum(char.isprintable() or char in "\r\n\t" for char in text) > 0.9 * len(head)
    )
