"""The pictures are what their scripts draw."""

import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from flowpi.config.schema import Config
from tests.docs.documents import ROOT
from tests.waiting import PATIENCE_S

IMAGES = ROOT / "docs" / "images"


@pytest.mark.parametrize("name", ["demo", "wiring"])
def test_a_picture_is_drawn_by_its_script(name: str, tmp_path: Path) -> None:
    here = shutil.copytree(IMAGES, tmp_path / "images")
    picture = here / f"{name}.svg"
    picture.unlink()
    subprocess.run([sys.executable, str(here / f"make_{name}.py")], check=True, timeout=PATIENCE_S)
    assert picture.read_text() == (IMAGES / f"{name}.svg").read_text()
    assert ElementTree.parse(picture).getroot().tag.endswith("svg")


def test_the_wiring_is_that_of_the_defaults() -> None:
    title = ElementTree.parse(IMAGES / "wiring.svg").getroot()[0].text
    config = Config()
    assert title
    assert f"ground (pin 9) and GPIO {config.button.pin} (pin 11)" in title
    assert f"GPIO {config.led.pin} (pin 13) through 330 ohm" in title
