"""Each profile has its rules for texts, and a reload changes them."""

import logging

import pytest

from flowpi.audio.utterance import About
from flowpi.config.profiles import ProfileSettings
from flowpi.config.schema import Config
from flowpi.config.text import TextSettings
from flowpi.editing.editors import Editors
from flowpi.wire.roles import FinalText


def rules(word: str) -> TextSettings:
    return TextSettings(replacements={word: ("echo",)})


async def edit(editors: Editors, profile: str | None) -> str:
    about = About("01JAZZ00000000000000000001", 0.0, profile=profile)
    return (await editors.edit(FinalText("echo", "en"), about, late=False)).text


async def test_a_text_has_the_rules_of_its_profile(caplog: pytest.LogCaptureFixture) -> None:
    config = Config(
        text=rules("Top"),
        profiles={
            "own": ProfileSettings(text=rules("Own")),
            "none": ProfileSettings(text=TextSettings()),
            "as": ProfileSettings(),
        },
    )
    editors = Editors(config)
    await editors.open()
    said = [await edit(editors, profile) for profile in (None, "own", "none", "as")]
    assert said == ["Top", "Own", "echo", "Top"]
    assert not caplog.records
    assert await edit(editors, "gone") == "Top"
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "01JAZZ00000000000000000001: the profile 'gone' is not configured any more: its text is as without a profile"
    ]
    await editors.close()


async def test_a_reload_changes_adds_and_removes_them() -> None:
    editors = Editors(Config(profiles={"a": ProfileSettings(text=rules("A")), "b": ProfileSettings(text=rules("B"))}))
    await editors.open()
    await editors.apply(
        Config(
            text=rules("Top"), profiles={"a": ProfileSettings(text=rules("New")), "c": ProfileSettings(text=rules("C"))}
        )
    )
    assert [await edit(editors, profile) for profile in (None, "a", "b", "c")] == ["Top", "New", "Top", "C"]
    await editors.close()
