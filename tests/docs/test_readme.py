"""The README is one page, and says what the other documents say."""

from flowpi import __version__
from tests.docs.documents import blocks, rows, section, text_of

README = "README.md"


def test_it_is_one_page() -> None:
    assert len(text_of(README).split()) <= 900


def test_it_names_this_version() -> None:
    assert f"**Status: version {__version__}.**" in text_of(README)


def test_it_installs_as_the_document_does() -> None:
    (short,) = blocks("sh", section(README, "Install on a Pi"))
    assert short == blocks("sh", section("docs/install.md", "Install on a Pi"))[0]
    assert len(short.splitlines()) == 4


def test_its_gestures_are_those_of_the_document() -> None:
    gestures = rows(section(README, "Press, talk, read"))
    assert gestures == rows(section("docs/using.md", "The button"))
    assert len(gestures) == 1 + 4
