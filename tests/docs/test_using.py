"""The document on the daily use is true: the LED does what it draws."""

import pytest

from flowpi.core import lights
from flowpi.core.lights import Pattern
from tests.docs.documents import rows, section


@pytest.mark.parametrize("pattern", lights.ALL, ids=lambda pattern: pattern.name)
def test_every_pattern_of_the_led_is_drawn_and_explained(pattern: Pattern) -> None:
    text = section("docs/using.md", "What the LED shows")
    assert f"\n{pattern.name:<14} {lights.drawing(pattern)}\n" in text
    assert [row[0] for row in rows(text)].count(pattern.name) == 1
