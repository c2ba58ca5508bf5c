"""The editor: what it makes of a text, and that it never costs one."""

import logging

import pytest

from flowpi.audio.utterance import PartId
from flowpi.config.text import TextSettings
from flowpi.core.text.rules import Rules
from flowpi.editing import tables
from flowpi.editing.editor import MOST_BYTES, EditedText, Editor
from flowpi.wire.roles import FinalText
from tests.editing.scripted_model import answer, mute, scripted_model
from tests.sound import ulid

PART = PartId(ulid(1))
TABLE = TextSettings(replacements={"GitHub": ("git hub",)})


async def edit(editor: Editor, text: FinalText) -> FinalText:
    return await editor.edit(text, PART, late=False)


async def test_without_rules_a_text_is_the_same() -> None:
    text = FinalText("Um, git hub.", "en")
    assert await edit(Editor(TextSettings()), text) is text


async def test_an_edited_text_has_the_other_beside_it() -> None:
    editor = Editor(TABLE)
    assert await edit(editor, FinalText("git hub", "nl", False)) == EditedText("GitHub", "nl", False, raw="git hub")
    same = FinalText("GitHub", "en")
    assert await edit(editor, same) is same
    assert await edit(editor, FinalText("", "en")) == FinalText("", "en")


async def test_a_text_that_becomes_empty_is_one() -> None:
    editor = Editor(TextSettings(commands=True, ending="space"))
    assert await edit(editor, FinalText("Scratch that.", None)) == EditedText("", None, raw="Scratch that.")


async def test_a_text_without_end_is_left_alone() -> None:
    text = FinalText("git hub " * (MOST_BYTES // 8 + 1), "en")
    assert await edit(Editor(TABLE), text) is text


async def test_a_mistake_in_a_rule_costs_no_text_and_tells_none(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(self: Rules, text: str, tag: str | None) -> str:
        raise ValueError(text)

    monkeypatch.setattr(Rules, "applied", fails)
    text = FinalText("git hub canary", "en")
    assert await edit(Editor(TABLE), text) is text
    assert "is not edited: internal error (ValueError)" in caplog.text
    assert "canary" not in caplog.text


async def test_tables_that_are_missing_cost_no_text(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing() -> None:
        raise FileNotFoundError("en.toml")

    monkeypatch.setattr(tables, "languages", missing)
    editor = Editor(TextSettings(commands=True))
    await editor.open()
    text = FinalText("New line.", "en")
    assert await edit(editor, text) is text
    assert "texts are not edited: internal error (FileNotFoundError)" in caplog.text


async def test_a_reload_counts_from_the_next_text_on() -> None:
    editor = Editor(TextSettings())
    await editor.open()
    assert (await edit(editor, FinalText("git hub", "en"))).text == "git hub"
    await editor.apply(TABLE)
    assert (await edit(editor, FinalText("git hub", "en"))).text == "GitHub"
    await editor.apply(TextSettings())
    assert (await edit(editor, FinalText("git hub", "en"))).text == "git hub"


async def test_a_reload_changes_the_server() -> None:
    async with scripted_model() as model, scripted_model() as other:
        model.behaviour, other.behaviour = mute, answer("Yes.")
        editor = Editor(TextSettings(rewrite=model.settings()))
        await editor.open()
        await editor.apply(TextSettings(rewrite=other.settings()))
        assert (await edit(editor, FinalText("yes", "en"))).text == "Yes."
        await editor.close()
    assert not model.requests


async def test_without_the_library_numbers_stay_words(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    settings = TextSettings(digits=True)
    assert (await edit(Editor(settings), FinalText("twenty five", "en"))).text == "25"
    monkeypatch.setitem(__import__("sys").modules, "text_to_num", None)
    assert not tables.has_digits()
    assert (await edit(Editor(settings), FinalText("twenty five", "en"))).text == "twenty five"
    assert "text2num is not installed" in caplog.text
