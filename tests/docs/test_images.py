"""The pictures are what their scripts draw."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from flowpi.config.boards import BOARDS, CONTROLS, SOUND_PINS
from flowpi.config.contradictions import SPI_PINS
from flowpi.config.loading import load
from flowpi.config.schema import Config
from tests.docs.documents import ROOT, code, rows, section, text_of
from tests.waiting import PATIENCE_S

IMAGES = ROOT / "docs" / "images"


WIRED = ("i2s-mic", "respeaker-2mic", "aiy-voice-kit")
"""The boards with a picture of their own; that of `plain` is `wiring`."""

SCRIPTS = {
    **{name: [name] for name in ("demo", "cabling", "wiring")},
    "boards": [f"wiring-{board}" for board in WIRED],
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_picture_is_drawn_by_its_script(script: str, tmp_path: Path) -> None:
    here = shutil.copytree(IMAGES, tmp_path / "images")
    for name in SCRIPTS[script]:
        (here / f"{name}.svg").unlink()
    subprocess.run([sys.executable, str(here / f"make_{script}.py")], check=True, timeout=PATIENCE_S)
    for name in SCRIPTS[script]:
        assert (here / f"{name}.svg").read_text() == (IMAGES / f"{name}.svg").read_text()
        assert ElementTree.parse(here / f"{name}.svg").getroot().tag.endswith("svg")


def test_every_picture_has_a_script_and_is_shown() -> None:
    assert {file.stem for file in IMAGES.glob("*.svg")} == {name for names in SCRIPTS.values() for name in names}
    shown = "".join(text_of(document) for document in ("README.md", "docs/hardware.md", "docs/typing.md"))
    assert all(f"images/{name}.svg" in shown for names in SCRIPTS.values() for name in names)


@pytest.mark.parametrize("board", WIRED)
def test_the_pins_of_a_board_are_those_of_its_settings(board: str) -> None:
    title = ElementTree.parse(IMAGES / f"wiring-{board}.svg").getroot()[0].text or ""
    config = load(None, [f"board={board}"])
    assert re.search(rf"\(GPIO {config.button.pin}\): .*?button", title)
    if config.led.kind == "gpio":
        assert re.search(rf"\(GPIO {config.led.pin}\): .*?LED", title)
    else:
        assert all(re.search(rf"\(GPIO {pin}\): three LEDs", title) for pin in SPI_PINS)


def test_nothing_is_wired_to_the_pins_of_the_sound() -> None:
    title = ElementTree.parse(IMAGES / "wiring-i2s-mic.svg").getroot()[0].text or ""
    for pin in SOUND_PINS["i2s-mic"]:
        assert re.search(rf"\(GPIO {pin}\): (microphone|leave free)", title)


def test_each_board_is_in_the_table() -> None:
    assert [code(row[0])[0] for row in rows(section("docs/hardware.md", "Boards")) if row[0][:1] == "`"] == list(
        dict.fromkeys(["plain", "i2s-mic", *(name for name in BOARDS if "respeaker" in name), "aiy-voice-kit"])
    )


def test_the_mixer_is_described_as_it_is_set() -> None:
    text = section("docs/hardware.md", "ReSpeaker 2-Mic")
    for control in CONTROLS["respeaker-2mic"]:
        if control.kind == "volume":
            assert f"`{control.name}` {control.boots_at}" in text


def test_the_wiring_is_that_of_the_defaults() -> None:
    title = ElementTree.parse(IMAGES / "wiring.svg").getroot()[0].text
    config = Config()
    assert title
    assert f"ground (pin 9) and GPIO {config.button.pin} (pin 11)" in title
    assert f"GPIO {config.led.pin} (pin 13) through 330 ohm" in title
