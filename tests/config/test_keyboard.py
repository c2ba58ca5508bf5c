"""The section `publish.keyboard`: what is refused, with what to write."""

from pathlib import Path

import pytest

from flowpi.config.keyboard import KeyboardSettings
from flowpi.config.loading import load
from tests.config.refusals import refused


def test_it_is_off(file: Path) -> None:
    assert KeyboardSettings() == KeyboardSettings(kind="none", layout=None, variant=None, append=" ", pace_ms=8)
    file.write_text("publish: {keyboard: {layout: ru, variant: x, host: other, unicode: linux}}\n")
    load(str(file))


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("3", "publish.keyboard must be a mapping, not 3"),
        ("{kind: gadget}", "publish.keyboard.kind must be hid, none or uinput, not 'gadget'"),
        (
            "{kind: hid}",
            "publish.keyboard.layout is missing, and publish.keyboard.kind hid needs it: name that of the computer at "
            "the cable, such as us, gb or de",
        ),
        (
            "{kind: uinput, variant: neo}",
            "publish.keyboard.layout is missing, and publish.keyboard.variant needs it: name the layout too",
        ),
        (
            "{kind: hid, layout: latm}",
            "publish.keyboard.layout is 'latm', which flowpi does not know: did you mean latam?",
        ),
        ("{kind: hid, layout: DE}", "publish.keyboard.layout is 'DE', which flowpi does not know: did you mean de?"),
        (
            "{kind: hid, layout: us, variant: dvorack}",
            "publish.keyboard.variant is 'dvorack', which flowpi does not know of 'us': did you mean dvorak?",
        ),
        (
            "{kind: hid, layout: tr, variant: zzz}",
            "publish.keyboard.variant is 'zzz', which flowpi does not know of 'tr': known: alt, f",
        ),
        (
            "{kind: hid, layout: au, variant: dvorak}",
            "publish.keyboard.variant is 'dvorak', which flowpi does not know of 'au': leave it out",
        ),
        *(
            (
                f"{{kind: uinput, layout: {name}}}",
                f"publish.keyboard.layout is '{name}', which has no Latin letters: name the Latin one that the "
                "computer has beside it",
            )
            for name in ("ru", "gr", "ua")
        ),
        (
            "{kind: hid, layout: rs}",
            "publish.keyboard.layout is 'rs', which has no Latin letters: choose a variant: latin, latinyz",
        ),
        (
            "{kind: uinput, host: other}",
            "publish.keyboard.host is 'other', and uinput types into this machine, which runs Linux: remove it",
        ),
        (
            "{kind: hid, layout: us, unicode: mac}",
            "publish.keyboard.unicode is 'mac', and publish.keyboard.host is 'linux': set publish.keyboard.host to "
            "other",
        ),
        (
            "{kind: hid, layout: us, host: other, unicode: linux}",
            "publish.keyboard.unicode is 'linux', and publish.keyboard.host is 'other': remove it",
        ),
        ("{kind: uinput, pace_ms: 1}", "publish.keyboard.pace_ms must be a whole number from 2 to 50, not 1"),
    ],
)
def test_what_cannot_be_meant_is_refused(file: Path, section: str, said: str) -> None:
    assert refused(file, f"publish: {{keyboard: {section}}}\n").startswith(f"f.yaml, line 1: {said}")


@pytest.mark.parametrize(
    "section",
    [
        "{kind: uinput}",
        "{kind: uinput, layout: de, variant: neo, unicode: linux}",
        "{kind: hid, layout: us, host: other, unicode: windows, newline: shift-enter, append: ''}",
    ],
)
def test_what_can_be_meant(file: Path, section: str) -> None:
    file.write_text(f"publish: {{keyboard: {section}}}\n")
    assert load(str(file)).publish.keyboard.kind != "none"
