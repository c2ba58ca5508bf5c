"""Runs in the machine, by flowpi's Python: types texts for one layout after the other, as the service would each.

    typing_all.py KIND JSON     JSON is a list of [LAYOUT, VARIANT, TEXT]

One process types them all, because each start of one takes seconds here. The reader must have the keyboard first.
"""

import asyncio
import json
import sys
from pathlib import Path

from flowpi.config.keyboard import KeyboardSettings
from flowpi.keyboard.chosen import output_of
from flowpi.keyboard.layouts import layout
from flowpi.keyboard.trial import USER, become
from flowpi.keyboard.typist import Typist

EVENTS = Path("/run/typing/events")


def is_read() -> bool:
    return [line for line in EVENTS.read_text().splitlines() if line in ("open", "gone")][-1] == "open"


async def main(kind: str, texts: list[tuple[str, str, str]]) -> None:
    settings = KeyboardSettings(kind=kind)  # type: ignore[arg-type]
    typist = Typist(output_of(settings), settings.pace_ms / 1000)
    typist.open()
    while not is_read():  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    try:
        for name, variant, text in texts:
            ended = await typist.type(layout(name, variant).strokes(text).strokes, lambda: True)
            assert ended.reason is None, (name, ended)
    finally:
        typist.close()


become(USER)
asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
