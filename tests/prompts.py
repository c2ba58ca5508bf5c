"""The prompts of a telephone exchange, each with its text: 268 recordings, 2970 words, 20 minutes.

They are Debian's packages asterisk-core-sounds-en, the text, and asterisk-core-sounds-en-g722, the sound, in 16 kHz:
copyright Allison Smith, who speaks them, under the licence CC-BY-SA 3.0. They are no part of flowpi.
"""

import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from G722 import G722

from flowpi.dsp.format import RATE_HZ
from tests.speech import Recording

TEXTS = Path("/usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz")
SOUNDS = Path("/usr/share/asterisk/sounds/en_US_f_Allison")

BIT_RATE = 64_000
"""Of G.722 at the best of its three qualities, which is what the package has."""

WORDS_MIN = 3
"""Shorter prompts are parts that the exchange joins, such as single digits: nobody dictates them."""

SAMPLE = slice(1, None, 5)
"""The prompts that `make test` hears: for base as hard as all of them, for tiny less. The limits for all prompts leave
room in it for a few words that another processor's arithmetic decides."""


@dataclass(frozen=True)
class Correction:
    """A place in which the recording plainly differs from the text."""

    prompt: str
    written: str
    spoken: str
    reason: str


THREE_HEAR_IT = "Moonshine tiny and base and Whisper base hear it so"
MISPRINT = "a misprint"

CORRECTIONS = (
    Correction("conf-adminmenu-menu8", "umute", "unmute", MISPRINT),
    Correction("queue-periodic-announce", "represenatives", "representatives", MISPRINT),
    Correction("unidentified-no-callback", "Un-indentified or witheld", "Unidentified or withheld", MISPRINT),
    Correction("priv-callee-options", "thru", "through", "a spelling"),
    Correction("demo-congrats", "help you to get started", "help you get started", THREE_HEAR_IT),
    Correction("demo-instruct", "Finally,  you", "you", THREE_HEAR_IT),
    Correction("pbx-invalid", "sorry, that's", "sorry, but that's", THREE_HEAR_IT),
    Correction("pbx-invalidpark", "sorry, there", "sorry, but there", THREE_HEAR_IT),
    Correction("vm-forwardoptions", "prepend a message", "prepend the message", THREE_HEAR_IT),
    Correction("vm-savefolder", "save the message", "save this message", THREE_HEAR_IT),
)


@cache
def prompts() -> list[Recording]:
    """Return all prompts of at least `WORDS_MIN` words."""
    return [Recording(name, sound(name), text) for name, text in texts()]


@cache
def sample() -> list[Recording]:
    """Return some of the prompts, spread over all of them."""
    chosen = list(texts())[SAMPLE]
    return [Recording(name, sound(name), text) for name, text in chosen]


def texts() -> Iterator[tuple[str, str]]:
    """Yield the name of each prompt and what is said in it."""
    with gzip.open(TEXTS, "rt") as lines:
        for line in lines:
            name, colon, written = line.partition(":")
            if line.startswith(";") or not colon:
                continue
            text = spoken(name, written)
            if len(text.split()) >= WORDS_MIN and file_of(name).exists():
                yield name, text


def spoken(name: str, written: str) -> str:
    """Return what is said in a prompt, by its line in the package."""
    # In brackets of some kind are sounds that are not speech, and notes. Dots mark where the exchange joins another.
    text = re.sub(r"[\[<(].*?[\])>]", "", written).replace("*", "star").replace("#", "pound").strip(" .\n")
    for correction in CORRECTIONS:
        if correction.prompt == name:
            assert correction.written in text, correction
            text = text.replace(correction.written, correction.spoken)
    return text


def file_of(name: str) -> Path:
    return SOUNDS / f"{name}.g722"


def sound(name: str) -> bytes:
    """Return a prompt as int16 mono 16 kHz."""
    return bytes(G722(RATE_HZ, BIT_RATE).decode(file_of(name).read_bytes()).tobytes())
