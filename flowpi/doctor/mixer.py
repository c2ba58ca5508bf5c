"""The input gain of a sound card: read by `amixer`, and the command to change it."""

import re

from msgspec import Struct

from flowpi.doctor.ask import said


class Gain(Struct, frozen=True):
    """The gain of a mixer control, in percent of its scale."""

    control: str
    percent: int


def gain_of(card: str | None) -> Gain | None:
    """Return the gain of the card's first capture control, or None if there is none, or no `amixer`."""
    output = said("amixer", *(["-c", card] if card else []), "scontents")
    return parse(output) if output else None


def parse(output: str) -> Gain | None:
    """Return the first capture volume in the output of `amixer scontents`, or None."""
    for block in output.split("Simple mixer control ")[1:]:
        name = re.match(r"'([^']*)'", block)
        able = re.search(r"Capabilities: (.*)", block)
        percent = re.search(r"\bCapture \d+ \[(\d+)%\]", block)
        if name and able and percent and re.search(r"\bcvolume", able.group(1)):
            return Gain(name.group(1), int(percent.group(1)))
    return None


STEP = 15
"""The change of the gain from one try to the next, in percent of the scale."""


def line(card: str | None, gain: Gain | None, *, louder: bool) -> str:
    """Return the command that raises or lowers the gain."""
    on = f" -c {card}" if card else ""
    end = gain is not None and (gain.percent >= 100 if louder else gain.percent <= 0)
    if gain is None or end:
        where = "come nearer, or use another microphone" if louder else "move away, or use another microphone"
        return f"alsamixer{on} (F4, the arrow keys); if there is no gain to set, {where}"
    percent = min(100, gain.percent + STEP) if louder else max(0, gain.percent - STEP)
    return f"amixer{on} sset '{gain.control}' {percent}% cap && sudo alsactl store"
