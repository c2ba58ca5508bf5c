"""The input gain of a sound card, as `amixer` shows and sets it."""

import re

from msgspec import Struct

from flowpi.doctor.ask import said


class Gain(Struct, frozen=True):
    """`control`: of the mixer. `percent`: where it stands."""

    control: str
    percent: int


def card_of(device: str) -> str | None:
    """The card that an ALSA PCM name leads to, as `amixer -c` takes it; None where the name does not say."""
    found = re.search(r"CARD=([\w-]+)", device) or re.match(r"(?:plug)?hw:([\w-]+)", device)
    return found.group(1) if found else None


def gain_of(card: str | None) -> Gain | None:
    """Of the first control of the card that sets what is recorded; None if there is none, or no `amixer`."""
    output = said("amixer", *(["-c", card] if card else []), "scontents")
    return parse(output) if output else None


def parse(output: str) -> Gain | None:
    """From `amixer scontents`. A capture volume stands behind `Capture`, or is the only one of a microphone."""
    for block in output.split("Simple mixer control ")[1:]:
        name = re.match(r"'([^']*)'", block)
        able = re.search(r"Capabilities: (.*)", block)
        percent = re.search(r"\bCapture \d+ \[(\d+)%\]", block)
        if name and able and percent and re.search(r"\bcvolume", able.group(1)):
            return Gain(name.group(1), int(percent.group(1)))
    return None


STEP = 15
"""Percent of the scale, between one try and the next."""


def line(card: str | None, gain: Gain | None, *, louder: bool) -> str:
    """The command that mends it."""
    on = f" -c {card}" if card else ""
    end = gain is not None and (gain.percent >= 100 if louder else gain.percent <= 0)
    if gain is None or end:
        where = "come nearer, or use another microphone" if louder else "move away, or use another microphone"
        return f"alsamixer{on} (F4, the arrow keys); if there is no gain to set, {where}"
    percent = min(100, gain.percent + STEP) if louder else max(0, gain.percent - STEP)
    return f"amixer{on} sset '{gain.control}' {percent}% cap && sudo alsactl store"
