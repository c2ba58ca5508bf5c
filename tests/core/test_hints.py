"""Hints: their encoded form, which files and clients hold; and that a dialect's message says all of them."""

from typing import Any

import msgspec
import pytest

from flowpi.core.hints import Dialogue, DialogueTurn, Hints, SurroundingText, TargetApp
from flowpi.wire.flow_messages import Context

ENCODED = {
    "app": {"name": "Notes", "type": "other"},
    "dictionary_context": ["Gabapentin", "Dashwood"],
    "user_identifier": "ada@example",
    "user_first_name": "Ada",
    "user_last_name": "Lovelace",
    "textbox_contents": {"before_text": "Dear", "selected_text": "Sir", "after_text": "Yours"},
    "screenshot": "AAEC",
    "content_text": "text",
    "content_html": "<p>text</p>",
    "conversation": {
        "id": "7",
        "participants": ["Ada", "Bob"],
        "messages": [{"role": "user", "content": "When?"}, {"role": "assistant", "content": "At seven."}],
    },
}
HINTS = Hints(
    app=TargetApp("Notes", "other"),
    terms=("Gabapentin", "Dashwood"),
    user_id="ada@example",
    first_name="Ada",
    last_name="Lovelace",
    around=SurroundingText("Dear", "Sir", "Yours"),
    screenshot=b"\0\1\2",
    page_text="text",
    page_html="<p>text</p>",
    dialogue=Dialogue("7", ("Ada", "Bob"), (DialogueTurn("user", "When?"), DialogueTurn("assistant", "At seven."))),
)


def plain(part: Hints | Context) -> Any:
    return msgspec.json.decode(msgspec.json.encode(part))


def test_the_encoded_form() -> None:
    assert plain(HINTS) == ENCODED
    assert msgspec.convert(ENCODED, Hints) == HINTS
    assert plain(Hints()) == {}


def test_flow_is_told_all_of_them() -> None:
    assert msgspec.json.encode(Context.of(HINTS)) == msgspec.json.encode(HINTS)
    assert Context.of(Hints()) == Context()


@pytest.mark.parametrize("name", ENCODED)
def test_each_hint_alone(name: str) -> None:
    hints = msgspec.convert({name: ENCODED[name]}, Hints)
    assert plain(Context.of(hints)) == {name: ENCODED[name]}
    assert hints.over(Hints()) == Hints().over(hints) == hints
    assert hints.over(HINTS) == HINTS


def test_hints_of_a_dictation_go_over_configured_ones() -> None:
    configured = Hints(terms=("Pi",), first_name="Ada", app=TargetApp("flowpi"))
    assert Hints(app=TargetApp("Notes"), terms=()).over(configured) == Hints(
        app=TargetApp("Notes"), terms=("Pi",), first_name="Ada"
    )
