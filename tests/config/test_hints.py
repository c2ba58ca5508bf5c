"""What is said to do about mistakes that people make when they write a configuration by hand."""

from pathlib import Path

import pytest

from flowpi.config.loading import load
from flowpi.core.errors import ConfigError
from tests.config.refusals import refused


@pytest.mark.parametrize(
    ("text", "line", "hint"),
    [
        ("spool: {keep_audio: 'yes'}", 1, "write true"),
        ("spool: {keep_audio: 'OFF'}", 1, "write false"),
        ("spool: {keep_audio: 1}", 1, "write true"),
        ("audio: {preroll_ms: 500ms}", 1, "write the number alone, without a unit"),
        ("audio: {preroll_ms: 50 %}", 1, "write the number alone, without a unit"),
        ("audio: {gain_db: '1,5'}", 1, "write a point in the place of the comma"),
        ("audio:\n  device:default", 1, "put a space behind the colon"),
        ("audio:\n  device default", 1, "write its keys, each with a colon and a space behind it"),
        ("audio.device: default", 1, "write `audio:`, `device:` in lines of their own, each indented more"),
        ("publish:\n  mqtt.last: true", 2, "write `mqtt:`, `last:` in lines of their own, each indented more"),
        ("audio: {device: hw:CARD=x,DEV=0}", 1, "the value before it has a comma: put it in quotes"),
        ('spool:\n  directory: "/x\nbutton:\n  kind: none\n', 2, "close the quote that begins here"),
        ("audio: {device: x\nspool: {max_mb: 64}", 1, "close the {, and put a comma between its keys"),
        ("led:\n  pins: [1, 2\nspool: {}", 2, "close the [, and put a comma between its values"),
        ("publish:\n  mqtt:\n    username: @me", 3, "put the value in quotes"),
        ("publish:\n  mqtt:\n    username: a: b", 3, "put a value with a colon in quotes; keys of one section under"),
        ("audio:\n  device: a\n   source: b", 3, "put a value with a colon in quotes; keys of one section under each"),
        ('spool:\n  directory: "C:\\Users"', 2, "write it in single quotes, in which a backslash is a letter"),
        ("audio:\n\tdevice: default", 2, "write spaces in the place of tabs"),
        ("audio:\n\u00a0\u00a0device: default", 2, "has an invisible character, U+00A0 (no-break space)"),
    ],
)
def test_what_to_do(file: Path, text: str, line: int, hint: str) -> None:
    said = refused(file, text)
    assert said.startswith(f"f.yaml, line {line}: ")
    assert hint in said


@pytest.mark.parametrize("text", ["spool: {keep_audio: maybe}", "audio: {preroll_ms: soon}"])
def test_nothing_is_guessed(file: Path, text: str) -> None:
    said = refused(file, text)
    assert "write" not in said


def test_a_key_that_is_not_indented(file: Path) -> None:
    file.write_text("audio:\ndevice: default\n")
    with pytest.raises(ConfigError) as raised:
        load(str(file))
    (second,) = raised.value.others
    assert str(second).endswith("line 2: device is not a known key: indent it, if it is a key of audio")
