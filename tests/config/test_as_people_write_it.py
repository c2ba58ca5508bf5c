"""Configurations as people type, paste and copy them: each is taken as it was meant, or refused with what to do."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from flowpi.config.loading import load, masked, warnings
from flowpi.core.errors import ConfigError, UsageError
from tests.config.refusals import refused

CLOUD = "backends: {cloud: {kind: flow, url: 'wss://flow.example/ws', "
BELOW = "dictation: {backends: [local]}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "f.yaml"


def value_at(file: Path, key: str) -> Any:
    tree: Any = masked(load(str(file)))
    for name in key.split("."):
        tree = tree[name]
    return msgspec.to_builtins(tree)


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("audio: {preroll_ms: 320}", "audio.preroll_ms", 320),
        ("audio: {preroll_ms: +320}", "audio.preroll_ms", 320),
        ("button: {long_s: .5, hold_ms: 300}", "button.long_s", 0.5),
        ("button: {long_s: 1.5}", "button.long_s", 1.5),
        ("button: {long_s: 1.}", "button.long_s", 1.0),
        ("spool: {max_mb: 64}  # comment", "spool.max_mb", 64),
        ("\ufeffspool: {max_mb: 64}", "spool.max_mb", 64),
        ("spool: {max_mb: 64}\r\n", "spool.max_mb", 64),
        ("spool:\r\n  max_mb: 64\r\n", "spool.max_mb", 64),
        ("audio: {device: 'plughw:CARD=Device,DEV=0'}", "audio.device", "plughw:CARD=Device,DEV=0"),
        ("audio:\n  device: plughw:CARD=Device,DEV=0\n", "audio.device", "plughw:CARD=Device,DEV=0"),
        (
            "context: {user_first_name: \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645}",
            "context.user_first_name",
            None,
        ),
        ("context: {user_first_name: O\u2019Brien}", "context.user_first_name", "O\u2019Brien"),
        ("context: {user_first_name: 'Jos\u00e9 \u00a0L.'}", "context.user_first_name", "Jos\u00e9 \u00a0L."),
        ("# caf\u00e9\u00a0: x\nspool: {max_mb: 64}", "spool.max_mb", 64),
        ("context: {content_text: '\u201eAm Markt\u201c'}", "context.content_text", "\u201eAm Markt\u201c"),
        ("context:\n  content_text: |\n    Prix\u00a0: 5 euros\n", "context.content_text", "Prix\u00a0: 5 euros\n"),
        ("context:\n  content_text: |\n    a\n    \u00a0b\n", "context.content_text", "a\n\u00a0b\n"),
        ("context:\n  content_text: 'a\n    \u00a0b: c'\n", "context.content_text", "a \u00a0b: c"),
        ("led: {night: {from: '22:00', to: '06:30'}}", "led.night.from", "22:00"),
        ("spool: {keep_audio: yes}", "spool.keep_audio", True),
        ("spool: {keep_audio: off}", "spool.keep_audio", False),
        (CLOUD + "client_key: '0123'}}", "backends.cloud.client_key", "***"),
        (CLOUD + "client_key: {file: /run/key}}}", "backends.cloud.client_key", {"file": "/run/key"}),
        ("publish: {socket: {path: /run/a.sock}}", "publish.socket.path", "/run/a.sock"),
        ("", "spool.keep_audio", False),
        ("---\nspool: {max_mb: 64}\n...\n", "spool.max_mb", 64),
        ("spool: {max_mb: 64}\n\n\n", "spool.max_mb", 64),
    ],
)
def test_it_is_taken_as_it_was_meant(file: Path, text: str, key: str, value: object) -> None:
    file.write_bytes(text.encode())
    found = value_at(file, key)
    assert found == value if value is not None else found


WHOLE_PATH = "and neither ~ nor $ is replaced here: write the whole path, from / on"
TOO_LONG = "is 108 bytes long, and the path of a socket has 107 at most: choose a shorter one"
QUOTES = 'is in curly quotes, which YAML takes for letters: write straight ones (")'
OR_TEXT = "put it in quotes if it is text, or write"
SPACES = "type the line anew, with plain spaces"
NO_SECRET = "put only the secret there"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("button: {pin: 017}", f"line 1: button.pin is 017, which YAML reads as 15: {OR_TEXT} 17"),
        ("button: {pin: 010}", f"line 1: button.pin is 010, which YAML reads as 8: {OR_TEXT} 10"),
        ("button: {pin: 0x11}", f"line 1: button.pin is 0x11, which YAML reads as 17: {OR_TEXT} a plain number"),
        ("button: {pin: 0b11}", f"line 1: button.pin is 0b11, which YAML reads as 3: {OR_TEXT} a plain number"),
        ("audio: {preroll_ms: 0500}", f"line 1: audio.preroll_ms is 0500, which YAML reads as 320: {OR_TEXT} 500"),
        (
            "audio: {rate: 4:26:40}",
            f"line 1: audio.rate is 4:26:40, which YAML reads as 16000: {OR_TEXT} a plain number",
        ),
        ("audio: {rate: 16_000}", f"line 1: audio.rate is 16_000, which YAML reads as 16000: {OR_TEXT} 16000"),
        ("spool: {max_mb: -0100}", f"line 1: spool.max_mb is -0100, which YAML reads as -64: {OR_TEXT} -100"),
        ("button: {long_s: 01.5}", f"line 1: button.long_s is 01.5, which YAML reads as 1.5: {OR_TEXT} 1.5"),
        ("button: {pin: 08}", "line 1: button.pin must be a whole number from 0 to 27, not '08': write 8"),
        ("button: {pin: '17'}", "line 1: button.pin must be a whole number from 0 to 27, not '17': write 17"),
        (
            "button: {pin: .inf}",
            "line 1: button.pin is not a number that flowpi can use: write a plain number, or quote text",
        ),
        ("audio: {device: 017}", f"line 1: audio.device is 017, which YAML reads as 15: {OR_TEXT} 17"),
        (
            CLOUD + "client_key: 0123}}",
            f"line 1: backends.cloud.client_key is no plain number: {OR_TEXT} a plain number",
        ),
        ("audio: {device: \u201cplughw:0\u201d}", f"line 1: audio.device {QUOTES}"),
        ("audio: {device: \u2018plughw:0\u2019}", f"line 1: audio.device {QUOTES}"),
        ("audio: {device: \u201eplughw:0\u201c}", f"line 1: audio.device {QUOTES}"),
        (CLOUD + "client_key: \u201cfl-abc\u201d}}", f"line 1: backends.cloud.client_key {QUOTES}"),
        (
            CLOUD + "client_key: '\u201cfl-abc\u201d'}}",
            "line 1: backends.cloud.client_key cannot be used (it has curly quotes (\u201c \u201d)): "
            "no key has: write it without them",
        ),
        (
            CLOUD + "client_key: fl-abc\u201d}}",
            "line 1: backends.cloud.client_key cannot be used (it has curly quotes (\u201d)): "
            "no key has: write it without them",
        ),
        (
            CLOUD + "client_key: Bearer fl-abc}}",
            "line 1: backends.cloud.client_key cannot be used (it begins with the word Bearer): "
            "write the key alone: flowpi adds that word itself",
        ),
        (
            CLOUD + "client_key: '  '}}",
            "line 1: backends.cloud.client_key cannot be used (it is empty): put the secret there",
        ),
        (
            CLOUD + 'client_key: "fl\\u200b-abc"}}',
            f"line 1: backends.cloud.client_key cannot be used (it is not one line of text): {NO_SECRET}",
        ),
        (
            CLOUD + 'client_key: "fl-abc\\nfl-def"}}',
            f"line 1: backends.cloud.client_key cannot be used (it is not one line of text): {NO_SECRET}",
        ),
        ("audio:\n\u00a0 device: x", f"line 2: has an invisible character, U+00A0 (no-break space): {SPACES}"),
        ("audio:\u00a0{device: x}", f"line 1: has an invisible character, U+00A0 (no-break space): {SPACES}"),
        ("audio:\n  device:\u00a0x", f"line 2: has an invisible character, U+00A0 (no-break space): {SPACES}"),
        ("audio:\n  de\u200bvice: x", f"line 2: has an invisible character, U+200B (zero width space): {SPACES}"),
        ("audio:\n  device\u2060: x", f"line 2: has an invisible character, U+2060 (word joiner): {SPACES}"),
        (
            BELOW + "\ufeffspool: {}",
            f"line 2: has an invisible character, U+FEFF (zero width no-break space): {SPACES}",
        ),
        ("audio:\n\u3000device: x", f"line 2: has an invisible character, U+3000 (ideographic space): {SPACES}"),
        (
            "audio: {device: plughw:CARD=Device,DEV=0}",
            "line 1: audio.DEV=0 is not a known key: the value before it has a comma: put it in quotes",
        ),
        (
            "audio: {device: plughw:1,0}",
            "line 1: audio.0 is not a known key: the value before it has a comma: put it in quotes",
        ),
        ("audio: {devise: x}", "line 1: audio.devise is not a known key: did you mean audio.device?"),
        (
            "audio: {device: 'plughw:0 '}",
            "line 1: audio.device is 'plughw:0 ', with a space at one end: remove the space",
        ),
        (
            "spool: {directory: ~/spool}",
            "line 1: spool.directory is '~/spool', " + WHOLE_PATH,
        ),
        (
            "spool: {directory: $HOME/spool}",
            "line 1: spool.directory is '$HOME/spool', " + WHOLE_PATH,
        ),
        (
            "audio: {source: wav, path: '${HOME}/a.wav'}",
            "line 1: audio.path is '${HOME}/a.wav', " + WHOLE_PATH,
        ),
        (
            "server: {model: ~/whisper-base}",
            "line 1: server.model is '~/whisper-base', " + WHOLE_PATH,
        ),
        (
            "server: {interim_model: $HOME/tiny}",
            "line 1: server.interim_model is '$HOME/tiny', " + WHOLE_PATH,
        ),
        (
            CLOUD + "client_key: {file: ~/key}}}",
            "line 1: backends.cloud.client_key is '~/key', " + WHOLE_PATH,
        ),
        (
            "server: {listen: ['unix:~/asr.sock']}",
            "line 1: server.listen.0 is '~/asr.sock', " + WHOLE_PATH,
        ),
        (
            'spool: {directory: "/var/lib/a\\0b"}',
            "line 1: spool.directory is '/var/lib/a\\x00b', and no path has a null character in it: write another path",
        ),
        (
            f"publish: {{socket: {{path: /run/{'a' * 103}}}}}",
            "line 1: publish.socket.path " + TOO_LONG,
        ),
        (
            f"server: {{listen: ['unix:/run/{'a' * 103}']}}",
            "line 1: server.listen.0 " + TOO_LONG,
        ),
        (
            "audio:\n\tdevice: x",
            "line 2: is not YAML (while scanning for the next token found character that cannot start any token): "
            "write spaces in the place of tabs",
        ),
        ("audio: {device: x", None),
        ("audio device: x", None),
        ("audio.device: x", None),
        ("- audio", None),
        ("spool: {keep_audio: 'false'}", None),
        ("button: {kind: off}", "line 1: button.kind must be evdev, gpio or none, not false: did you mean none?"),
        ("audio: {rate: 16000 Hz}", None),
        ("audio:\n  device: x\n  device: y", "line 3: audio.device is set twice: it stands in line 2 too: remove one"),
    ],
)
def test_it_is_refused_with_what_to_do(file: Path, text: str, message: str | None) -> None:
    said = refused(file, text)
    assert "fl-abc" not in said
    assert said.startswith("f.yaml, line ")
    if message is not None:
        assert said == f"f.yaml, {message}"


def test_all_that_is_wrong_is_told_at_once(file: Path) -> None:
    file.write_text(
        "audio: {rate: fast, devise: x}\nspool:\n  max_mb: 0\nbackends: {cloud: {kind: flow}}\n"
        "dictation: {backends: [x]}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(str(file))
    error = caught.value
    assert {one.key for one in (error, *error.others)} == {
        "audio.rate",
        "audio.devise",
        "spool.max_mb",
        "backends.cloud.url",
    }
    assert {one.line for one in (error, *error.others)} == {1, 3, 4}


def test_of_settings_that_contradict_each_other_all_are_told(file: Path) -> None:
    file.write_text("dictation: {backends: [x]}\nled: {kind: rgb}\n")
    with pytest.raises(ConfigError) as caught:
        load(str(file))
    assert [one.key for one in (caught.value, *caught.value.others)] == ["led.pins", "dictation.backends.0"]


@pytest.mark.parametrize(
    "typed",
    [
        "backends.c.client_key: fl-abc",
        "backends.c.client_key fl-abc",
        "fl-abc",
        ": fl-abc",
        "fl-abc==",
        "token fl-abc=3",
    ],
)
def test_what_was_typed_in_place_of_a_setting_is_not_repeated(typed: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(None, [typed])
    if not typed.startswith("fl-abc"):  # nothing tells that this is no key
        assert "fl-abc" not in str(caught.value)


def test_a_secret_on_the_command_line_is_warned_of() -> None:
    overrides = [
        "backends.c={kind: flow, url: 'wss://x.example/client_ws'}",
        "backends.c.client_key=fl-abc",
        "audio.rate=48000",
    ]
    said = list(warnings(load(None, overrides), None, overrides))
    assert said == [
        "every user of this machine can read backends.c.client_key in the list of processes: "
        "use {file: PATH} or {env: NAME}"
    ]
    whole = ["backends.c={kind: flow, url: 'wss://x.example/client_ws', client_key: fl-abc}"]
    assert len(list(warnings(load(None, whole), None, whole))) == 1
    kept = ["backends.c={kind: flow, url: 'wss://x.example/client_ws', client_key: {env: KEY}}"]
    assert not list(warnings(load(None, kept), None, kept))
