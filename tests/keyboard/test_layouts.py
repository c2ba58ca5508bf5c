"""The layout of the machine, and a layout that there is no table of."""

from pathlib import Path

import pytest

from flowpi.core.errors import LayoutError
from flowpi.keyboard.layouts import layout, system_layout


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('XKBMODEL="pc105"\nXKBLAYOUT="de"\nXKBVARIANT="nodeadkeys"\nXKBOPTIONS=""\n', ("de", "nodeadkeys")),
        ('XKBLAYOUT="us,ru"\nXKBVARIANT=",phonetic"\n', ("us", "")),
        ("# XKBLAYOUT=fr\nXKBLAYOUT=gb # mine\n", ("gb", "")),
        ("XKBLAYOUT='ch'\nXKBVARIANT='fr'\nXKBLAYOUT='be'\n", ("be", "fr")),  # as a shell reads it
    ],
)
def test_the_layout_of_the_machine_is_the_first_that_it_names(
    tmp_path: Path, text: str, found: tuple[str, str]
) -> None:
    (tmp_path / "keyboard").write_text(text)
    assert system_layout(tmp_path / "keyboard") == found


@pytest.mark.parametrize("text", [None, "", 'XKBLAYOUT=""\n'])
def test_a_machine_that_does_not_say_its_layout(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "keyboard"
    if text is not None:
        file.write_text(text)
    with pytest.raises(LayoutError, match=r"this machine is not in .*/keyboard: set publish.keyboard.layout"):
        system_layout(file)


@pytest.mark.parametrize(
    ("name", "variant", "said"),
    [
        ("ru", "", "the keyboard layout is 'ru', which has no Latin letters"),
        ("xx", "", "the keyboard layout is 'xx', which flowpi does not know"),
        (
            "us",
            "dvorack",
            "the keyboard layout has a variant that is 'dvorack', which flowpi does not know of 'us': did",
        ),
    ],
)
def test_a_layout_without_a_table(name: str, variant: str, said: str) -> None:
    with pytest.raises(LayoutError) as caught:
        layout(name, variant)
    assert str(caught.value).startswith(said)
    assert (caught.value.layout, caught.value.variant) == (name, variant)
