"""What a layout types is what a computer with this layout reads, by libxkbcommon itself."""

import string
import unicodedata
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowpi.core.typing.layout import PLAIN, Host, Layout
from flowpi.core.typing.names import NOT_LATIN, VARIANTS, fault
from flowpi.keyboard.layouts import layout
from layouts import make
from layouts.xkb import Keymap
from tests.keyboard.computer import Computer, xkb

RELEASE = Path("/etc/os-release").read_text() if Path("/etc/os-release").exists() else ""
pytestmark = pytest.mark.skipif("=bookworm" not in RELEASE, reason="the layouts are those of Debian 12")

NAMES = [(name, variant) for name, variants in VARIANTS.items() for variant in variants]
HOSTS: tuple[Host, ...] = ("linux", "other")
ASCII = string.ascii_letters + string.digits + string.punctuation + " "


@st.composite
def texts_of_a_layout(draw: st.DrawFn) -> tuple[Layout, Host, bool, str]:
    """A layout, the kind of computer, whether Caps Lock is on, and a text of what the layout has."""
    chosen, host, caps_lock = layout(*draw(st.sampled_from(NAMES))), draw(st.sampled_from(HOSTS)), draw(st.booleans())
    table = chosen.table(host=host, caps_lock=caps_lock)
    return chosen, host, caps_lock, draw(st.text(st.sampled_from(sorted(table)), max_size=40))


@pytest.mark.lengthy
def test_the_data_is_what_the_script_makes() -> None:
    assert make.document() == make.DATA.read_text(encoding="utf-8")


@pytest.mark.parametrize("caps_lock", [False, True], ids=["plain", "caps"])
@pytest.mark.parametrize(("name", "variant"), NAMES)
def test_every_character_of_a_layout_arrives(name: str, variant: str, caps_lock: bool) -> None:
    computer = Computer(name, variant, caps_lock=caps_lock)
    tables = [layout(name, variant).table(host=host, caps_lock=caps_lock) for host in HOSTS]
    assert all(set(ASCII) <= set(table) for table in tables)
    for char, strokes in {one for table in tables for one in table.items()}:
        computer.text = ""
        assert computer.type(strokes) == char
    assert computer.cancelled == 0


@given(texts_of_a_layout())
def test_a_text_of_a_layout_arrives(chosen: tuple[Layout, Host, bool, str]) -> None:
    keys, host, caps_lock, text = chosen
    typed = keys.strokes(text, host=host, caps_lock=caps_lock)
    assert (typed.replaced, typed.dropped) == (0, 0)
    assert Computer(keys.name, keys.variant, caps_lock=caps_lock).type(typed.strokes) == typed.text
    assert typed.text == unicodedata.normalize("NFC", text)


@given(st.sampled_from(NAMES), st.booleans(), st.text())
def test_of_any_text_what_arrives_is_visible_and_the_rest_is_counted(
    named: tuple[str, str], caps_lock: bool, text: str
) -> None:
    typed = layout(*named).strokes(text, caps_lock=caps_lock)
    read = Computer(*named, caps_lock=caps_lock).type(typed.strokes)
    assert read.isprintable()
    assert typed == layout(*named).strokes(unicodedata.normalize("NFC", text), caps_lock=caps_lock)
    ends_of_lines = text.count("\r\n")  # of two characters
    assert len(typed.text) + typed.dropped == len(unicodedata.normalize("NFC", text)) - ends_of_lines
    assert len(typed.ends) == len(typed.text)


@given(texts_of_a_layout())
def test_what_was_typed_before_a_stop_is_known(chosen: tuple[Layout, Host, bool, str]) -> None:
    keys, host, caps_lock, text = chosen
    typed = keys.strokes(text, host=host, caps_lock=caps_lock)
    characters = typed.characters()
    for done in range(len(characters) + 1):
        read = Computer(keys.name, keys.variant, caps_lock=caps_lock).type(chain.from_iterable(characters[:done]))
        assert read == typed.text[:done]
    assert len(characters) == len(typed.text)


@pytest.mark.parametrize("name", sorted(NOT_LATIN))
def test_a_layout_that_is_refused_has_no_latin_letters(name: str) -> None:
    found: make.Given = {}
    make.rows(Keymap(xkb(), name, ""), make.HELD, False, found)
    assert not set("aeiou") & set(found)
    wrong = fault(name, "")
    assert wrong is not None
    assert "no Latin letters" in wrong.problem


# Other systems


@pytest.mark.parametrize(("name", "variant"), NAMES)
def test_for_another_system_altgr_is_for_ascii_and_the_euro(name: str, variant: str) -> None:
    for caps_lock in (False, True):
        for char, strokes in layout(name, variant).table(host="other", caps_lock=caps_lock).items():
            if name != "pl" and not char.isascii() and char != "€":
                assert all(stroke.modifiers in PLAIN for stroke in strokes)


@pytest.mark.parametrize(
    ("name", "variant", "text"),
    [
        ("de", "", "äöüßÄÖÜ@€{[]}\\|~^`éèê"),
        ("fr", "", "éèçàùê€@#{[|`\\^]}~ëïü"),
        ("es", "", "áéíóúñÁüç€@#[]{}¿¡"),
        ("ch", "", "äöüéèà€@#[]{}~^`ê"),
        ("cz", "", "ěščřžýáíéůúďťňóĎŇ"),
        ("hu", "", "öüóőúéáűíÖÜÓ"),
        ("pl", "", "ąćęłńóśźżĄĆĘŁŃÓŚŹŻ"),
        ("pt", "", "áàâãçéêíóôõúª€@"),
        ("se", "", "åäöÅÄÖéüà@"),
        ("us", "intl", "áéíóúñü'\"`^~"),
    ],
)
def test_the_language_of_a_layout_can_be_typed_into_another_system(name: str, variant: str, text: str) -> None:
    assert set(text) <= set(layout(name, variant).table(host="other"))


@pytest.mark.parametrize(
    ("name", "variant", "char"), [("gb", "", "æ"), ("us", "altgr-intl", "ä"), ("de", "", "„"), ("fr", "oss", "œ")]
)
def test_what_only_linux_has_is_not_typed_into_another_system(name: str, variant: str, char: str) -> None:
    keys = layout(name, variant)
    assert char in keys.table(host="linux")
    assert char not in keys.table(host="other")
    assert keys.strokes(char, host="other").replaced == 1
