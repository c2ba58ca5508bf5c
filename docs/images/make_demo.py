"""Draw `demo.svg`: what `flowpi demo` printed, as a terminal in which the lines appear as they did.

    make_demo.py record flowpi demo    runs it, and writes what it prints and when to `demo.cast` (asciicast v2)
    make_demo.py                       draws `demo.svg` from `demo.cast`

Nothing is added to the recording or taken from it but the name of a temporary directory and the pause at the start.
"""

import json
import os
import re
import subprocess
import sys
import time
from html import escape
from pathlib import Path

CAST = Path(__file__).with_name("demo.cast")
PICTURE = Path(__file__).with_name("demo.svg")

COMMAND = "make demo"
FIRST_S = 1.0
"""When the first line of the recording appears."""

HOLD_S = 8.0
"""How long the last line stays before it begins again."""

CHARACTER_PX, LINE_PX, MARGIN_PX = 8, 20, 16

COLORS = {
    "server": "#8b949e",
    "speech": "#8b949e",
    "led": "#f2c230",
    "state": "#58a6ff",
    "partial": "#8b949e",
    "text": "#7ee787",
}
"""The color of a line by its first word; others are plain."""


def record(command: list[str]) -> None:
    """Run `command` and write each line that it prints, with the time since the start, to `CAST`."""
    events: list[tuple[float, str, str]] = []
    started = time.monotonic()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    ) as program:
        assert program.stdout
        for line in program.stdout:
            words = re.sub(r"/tmp/flowpi-demo-\w+", "/tmp/demo", line)
            events.append((round(time.monotonic() - started, 3), "o", words))
    if program.returncode:
        sys.exit(f"{command} ended with {program.returncode}")
    columns = max(len(words) for _, _, words in events)
    head = {"version": 2, "width": columns, "height": len(events) + 1, "title": COMMAND}
    CAST.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in (head, *events)))


def lines() -> list[tuple[float, str]]:
    """Return each line of the recording with the second at which it appears in the picture."""
    events = [json.loads(line) for line in CAST.read_text().splitlines()[1:]]
    pause_s = events[0][0] - FIRST_S
    return [(seconds - pause_s, words.rstrip("\n")) for seconds, _, words in events]


def drawn(words: str, y: int, seconds: float, length_s: float) -> str:
    """Return a line that is invisible until `seconds`, in a loop of `length_s`."""
    color = COLORS.get(words.partition(" ")[0], "#e6edf3")
    name = f"at{round(seconds * 1000)}"
    percent = 100 * seconds / length_s
    rule = f"@keyframes {name} {{ 0%, {percent:.2f}% {{ opacity: 0 }} {percent + 0.01:.2f}%, 100% {{ opacity: 1 }} }}"
    style = f"animation: {name} {length_s:.2f}s step-end infinite"
    # Where nothing is animated, all lines are visible.
    return (
        f"<style>{rule}</style>"
        f'<text x="{MARGIN_PX}" y="{y}" fill="{color}" style="{style}" xml:space="preserve">{escape(words)}</text>'
    )


def picture() -> str:
    recorded = lines()
    length_s = recorded[-1][0] + HOLD_S
    columns = max(len(words) for _, words in recorded)
    width = 2 * MARGIN_PX + columns * CHARACTER_PX
    height = 2 * MARGIN_PX + (len(recorded) + 1) * LINE_PX
    y = MARGIN_PX + LINE_PX - 5
    style = (
        "text { font: 13.3px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace } "
        "@media (prefers-reduced-motion) { text { animation: none !important } }"
    )
    rows = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f"<title>What {COMMAND} prints</title>",
        f"<style>{style}</style>",
        f'<rect width="{width}" height="{height}" rx="10" fill="#0d1117"/>',
        f'<text x="{MARGIN_PX}" y="{y}" fill="#e6edf3">$ {COMMAND}</text>',
    ]
    for number, (seconds, words) in enumerate(recorded, start=1):
        if words:
            rows.append(drawn(words, y + number * LINE_PX, seconds, length_s))
    return "\n".join([*rows, "</svg>"]) + "\n"


if __name__ == "__main__":
    if sys.argv[1:2] == ["record"]:
        record(sys.argv[2:])
    else:
        PICTURE.write_text(picture())
