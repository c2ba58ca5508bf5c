"""What is typed for what a layout does not have, and what is never typed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowpi.core.typing.spelling import NEWLINES, REPLACEMENTS, Newline, UnicodeInput
from flowpi.core.typing.strokes import ENTER, IDLE, SPACE, Modifiers, Stroke, Typed
from flowpi.keyboard.layouts import layout

US = layout("us")
CHARS = {strokes: char for char, strokes in US.table().items()}

CONTROL, SHIFT, ALT = Modifiers.CTRL, Modifiers.SHIFT, Modifiers.ALT


def read(typed: Typed) -> str:
    """Return the text that strokes of one key each type in the US layout."""
    return "".join(CHARS[(stroke,)] for stroke in typed.strokes)


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("‘Tis “good” – no — yes…", '\'Tis "good" - no -- yes...'),  # noqa: RUF001
        ("«\u202foui\u202f» ‹x›", "\" oui \" 'x'"),  # noqa: RUF001
        ("Straße, GROẞ, Ærø, œuvre, Łódź", "Strasse, GROSS, AEro, oeuvre, Lodz"),
        ("5 €, 20 °C, 3×4÷2, 7 µs", "5 EUR, 20  degC, 3x4/2, 7 us"),  # noqa: RUF001
        ("naïve café e\u0301 Ångström", "naive cafe e Angstrom"),
        ("½ ² ™ ﬁ ǆ", "1/2 2 TM fi dz"),
        ("a\u00a0b\u2009c\u3000d\te", "a b c d e"),
    ],
)
def test_what_the_layout_lacks_is_typed_as_what_looks_like_it(text: str, typed: str) -> None:
    done = US.strokes(text)
    assert read(done) == typed
    assert done.dropped == 0


@pytest.mark.parametrize(
    "text",
    [
        "😀",
        "日",
        "я",
        "\0\x07\x08\x1b\x7f",
        "\u200b\u200d\ufeff\u00ad",
        "\u202e\u2066\u2069\u200f",
        "\ue000\U000f0000",
        "\ud800",
        "\ufe0f\u3164\u2800",
    ],
    ids=ascii,
)
def test_what_nothing_looks_like_or_nobody_sees_is_dropped_and_counted(text: str) -> None:
    typed = US.strokes(f"a{text}b")
    assert (read(typed), typed.text, typed.ends, typed.dropped) == ("ab", "ab", (1, 2), len(text))


@pytest.mark.parametrize("unicode", ["linux", "windows", "mac"])
@given(text=st.text(st.characters(categories=["C", "Z"])))
def test_what_nobody_sees_is_not_typed_by_its_number_either(unicode: UnicodeInput, text: str) -> None:
    typed = US.strokes(text, unicode=unicode)
    assert set(typed.strokes) <= {Stroke(SPACE)}


@given(st.text())
def test_no_text_presses_enter_tab_or_a_shortcut(text: str) -> None:
    for stroke in US.strokes(text).strokes:
        assert stroke.keycode not in (ENTER, 1, 14, 15)  # Esc, Backspace, Tab
        assert stroke.modifiers in (Modifiers.NONE, SHIFT)


def test_replacements_are_ascii() -> None:
    assert all(text.isascii() and text.isprintable() for text in REPLACEMENTS.values())


@pytest.mark.parametrize("newline", NEWLINES)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\v", "\f", "\x85", "\u2028", "\u2029"], ids=ascii)
def test_the_end_of_a_line_is_one_key(newline: Newline, end: str) -> None:
    typed = US.strokes(f"a{end}b", newline=newline)
    assert typed.strokes == (Stroke(30), NEWLINES[newline], Stroke(48))
    assert (typed.text, typed.replaced) == ("a\nb", 0)


@pytest.mark.parametrize(
    ("unicode", "char", "strokes"),
    [
        ("linux", "é", [(22, CONTROL | SHIFT), 18, 10, SPACE]),
        ("windows", "é", [(78, ALT), (18, ALT), (73, ALT), IDLE]),
        ("mac", "é", [(11, ALT), (11, ALT), (18, ALT), (10, ALT), IDLE]),
        ("mac", "😀", [*((code, ALT) for code in (32, 9, 4, 32, 32, 18, 11, 11)), IDLE]),
    ],
)
def test_a_character_by_its_number(unicode: UnicodeInput, char: str, strokes: list[object]) -> None:
    typed = US.strokes(f"{char}a", unicode=unicode)
    expected = [
        one if isinstance(one, Stroke) else Stroke(*one) if isinstance(one, tuple) else Stroke(one)  # type: ignore[arg-type]
        for one in strokes
    ]
    assert typed.strokes == (*expected, Stroke(30))
    assert (typed.replaced, typed.ends) == (0, (len(expected), len(expected) + 1))
