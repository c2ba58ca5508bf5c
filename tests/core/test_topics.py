"""The topic filters of MQTT. The table has the examples of MQTT 3.1.1, section 4.7."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowpi.core import topics
from flowpi.core.topics import filter_error, matched, matches


@pytest.mark.parametrize(
    ("topic_filter", "topic", "taken"),
    [
        ("sport/tennis/player1/#", "sport/tennis/player1", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/ranking", True),
        ("sport/#", "sport", True),
        ("#", "transcript/final", True),
        ("sport/tennis/+", "sport/tennis/player1", True),
        ("sport/tennis/+", "sport/tennis/player1/ranking", False),
        ("sport/+", "sport", False),
        ("sport/+", "sport/", True),
        ("+/+", "/finance", True),
        ("/+", "/finance", True),
        ("+", "/finance", False),
        ("#", "$SYS/uptime", False),
        ("+/uptime", "$SYS/uptime", False),
        ("$SYS/#", "$SYS/uptime", True),
        ("state", "state", True),
        ("state", "State", False),
        ("transcript", "transcript/final", False),
        ("transcript/final", "transcript", False),
    ],
)
def test_matches(topic_filter: str, topic: str, taken: bool) -> None:
    assert filter_error(topic_filter) is None
    assert matches(topic_filter, topic) is taken


@pytest.mark.parametrize("bad", ["", "a/#/b", "a#", "a+/b", "+a", "#/a", "a\0", "x" * 70_000])
def test_a_bad_filter_is_named(bad: str) -> None:
    assert filter_error(bad)


levels = st.lists(st.text(st.characters(exclude_characters="+#/$\0", codec="utf-8"), max_size=4), min_size=1)


@given(levels, st.data())
def test_a_topic_is_taken_by_itself_and_by_each_generalisation(parts: list[str], data: st.DataObject) -> None:
    topic = "/".join(parts)
    general = ["+" if data.draw(st.booleans()) else part for part in parts]
    cut = data.draw(st.integers(0, len(parts)))
    assert matches("/".join(general), topic)
    assert matches("/".join([*general[:cut], "#"]), topic)


def test_every_topic_is_among_all_and_a_filter_finds_those_it_matches() -> None:
    assert set(topics.ALL) == {value for name, value in vars(topics).items() if name.isupper() and type(value) is str}
    assert matched(["#"]) == list(topics.ALL)
    assert matched(["transcript/+", "state"]) == [topics.STATE, topics.PARTIAL, topics.FINAL, topics.FAILED]
    assert matched(["transcript", "State"]) == matched([]) == []
