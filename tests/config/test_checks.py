"""In which words a configuration is refused."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowpi.config.addresses import one_of
from flowpi.config.backends import KINDS
from flowpi.config.boards import BOARDS
from flowpi.config.loading import load
from flowpi.config.schema import Config
from flowpi.core.errors import ConfigError, UsageError
from tests.config.refusals import refused, with_examples

PHRASES = "a list of at most 200 texts of 1 to 64 characters"
SOME_KIND = one_of(list(KINDS))
BOARD_NAMES = ", ".join(sorted(BOARDS))

REFERENCE = Path(__file__).parents[2] / "config" / "flowpi.yaml"
CLOUD = "backends: {x: {kind: flow, url: 'wss://h/ws', "


# What is refused, in the words that the owner sees


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("audio:\n  ratee: 1", "line 2: audio.ratee is not a known key: did you mean audio.rate?"),
        ("files: {}", "line 1: files is not a known key: did you mean publish.files?"),
        (
            "led: {zzz: 1}",
            "line 1: led.zzz is not a known key: known here: kind, pin, pins, spi, count, brightness, night",
        ),
        (  # what stands where a key belongs is perhaps a secret
            "backends: {x: {kind: suki, partner_id: a, partner_token'fl-1234'}}",
            "line 1: backends.x.*** is not a known key: did you mean backends.x.partner_token?",
        ),
        (
            "server: {'fl-1234'}",
            "line 1: server.*** is not a known key: known here: listen, engine, model, interim_model, languages, "
            "vocabulary, strict, max_sessions, api_keys, partners, tls",
        ),
        (
            "server: {max_session: 1}",
            "line 1: server.max_session is not a known key: did you mean server.max_sessions?",
        ),
        ("audio:\n  rate: 1", "line 2: audio.rate must be a whole number from 8000 to 192000, not 1"),
        ("audio: {rate: fast}", "line 1: audio.rate must be a whole number from 8000 to 192000, not 'fast'"),
        (
            "spool: {max_mb: 1000000000}",
            "line 1: spool.max_mb must be a whole number from 1 to 1000000, not 1000000000",
        ),
        ("led: {brightness: 2}", "line 1: led.brightness must be a number from 0 to 1, not 2"),
        ("audio: {source: alsaa}", "line 1: audio.source must be alsa or wav, not 'alsaa': did you mean alsa?"),
        ("audio: {channel: mox}", "line 1: audio.channel must be mix or a whole number from 0 to 31, not 'mox'"),
        (
            "board: respeaker",
            f"line 1: board must be {BOARD_NAMES} or null, not 'respeaker': did you mean respeaker-2mic?",
        ),
        ("board: [plain]", f"line 1: board must be {BOARD_NAMES} or null, not a list of 1"),
        ("board: plain\nled: 3", "line 2: led must be a mapping, not 3"),
        (
            "led: {night: {from: 22:00}}",
            "line 1: led.night.from is 22:00, which YAML reads as 1320: "
            "put it in quotes if it is text, or write a plain number",
        ),
        ("audio:", "line 1: audio must be a mapping, not empty: remove the line, or set a key in it"),
        ("spool: {keep_audio: maybe}", "line 1: spool.keep_audio must be true or false, not 'maybe'"),
        (
            "device_id: 12",
            "line 1: device_id must be a word without / + # and spaces or null, not 12: "
            "put it in quotes, or YAML takes it for something else",
        ),
        (
            "led: {pins: [1, 2]}",
            "line 1: led.pins must be a list of 3 times a whole number from 0 to 27 or null, not a list of 2",
        ),
        ("led:\n  pins:\n  - 1\n  - 2\n  - x", "line 5: led.pins.2 must be a whole number from 0 to 27, not 'x'"),
        (
            "dictation: {backends: local}",
            "line 1: dictation.backends must be a list of text, not empty, not 'local': write it as a list: [...]",
        ),
        ("server: {listen: [x]}", "line 1: server.listen.0 must be HOST:PORT or unix:PATH, not 'x'"),
        (
            CLOUD + "\n  client_key: 12345}}",
            "line 2: backends.x.client_key must be text, {credential: NAME}, {file: PATH} or {env: NAME} or null, "
            "not this: put it in quotes, or YAML takes it for something else",
        ),
        (
            CLOUD + "client_key: {credental: k}}}",
            "line 1: backends.x.client_key must be text, {credential: NAME}, {file: PATH} or {env: NAME} or null, "
            "not a mapping",
        ),
        ("backends: 3", "line 1: backends must be a mapping, not 3"),
        ("backends: {x: 3}", "line 1: backends.x must be a mapping, not 3"),
        (
            "server: {api_keys: canary}",
            "line 1: server.api_keys must be a list of text, "
            "{credential: NAME}, {file: PATH} or {env: NAME}, not text: write it as a list: [...]",
        ),
        (
            "backends: {x: {kind: flow, url: 'ws://h', bearer: Bearer canary}}",
            "line 1: backends.x.bearer must be true or false, not text",
        ),
        ("context: {ap: {name: x}}", "line 1: context.ap is not a known key: did you mean context.app?"),
        (
            "context: {app: {type: mail}}",
            "line 1: context.app.type must be ai, email, other or null, not 'mail': did you mean email?",
        ),
        ("context: {screenshot: '?'}", "line 1: context.screenshot must be base64 or null, not '?'"),
        ("backends: {x: canary}", "line 1: backends.x must be a mapping, not text"),
        (
            "publish: canary",
            "line 1: publish must be a mapping, not text: write its keys, each with a colon and a space behind it",
        ),
        (
            "server: {vocabulary: Ada}",
            f"line 1: server.vocabulary must be {PHRASES}, not text: write it as a list: [...]",
        ),
        (
            "backends: {x: {kind: flow, url: 'wss://h/ws?api_key=canary'}}",
            "line 1: backends.x.url holds a key: keys have keys of their own: client_key, api_key, token",
        ),
        ("backends: {x: {url: u}}", f"line 1: backends.x.kind is missing: it must be {SOME_KIND}"),
        ("backends: {x: {kind: flo}}", f"line 1: backends.x.kind must be {SOME_KIND}, not 'flo': did you mean flow?"),
        ("backends:\n  x:\n    kind: flow", "line 2: backends.x.url is missing: it must be text"),
        (
            "backends:\n  x:\n    kind: flow\n    packet_m: 9",
            "line 4: backends.x.packet_m is not a known key: did you mean backends.x.packet_ms?",
        ),
        (CLOUD + "packet_ms: 1}}", "line 1: backends.x.packet_ms must be a whole number from 10 to 1000, not 1"),
    ],
)
def test_one_bad_value(file: Path, text: str, message: str) -> None:
    assert refused(file, text) == f"f.yaml, {message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("audio: {source: wav}", "audio.path is missing: audio.source wav plays a file: say which"),
        (
            "audio: {channel: 1}",
            "audio.channel 1 does not exist with audio.channels 1: "
            "channels count from 0: set it below 1, or raise audio.channels",
        ),
        (
            "audio: {buffer_ms: 500}",
            "audio.idle_read_ms is too long for audio.buffer_ms 500: sound would be lost: "
            "set audio.buffer_ms to at least 1000",
        ),
        (
            "audio: {period_ms: 100, buffer_ms: 300, preroll_ms: 0}",
            "audio.period_ms is too long for audio.buffer_ms 300: sound would be lost: "
            "set audio.buffer_ms to at least 400",
        ),
        ("button: {kind: evdev}", "button.device is missing: button.kind evdev needs one of /dev/input/by-id/*"),
        (
            "button: {kind: evdev, device: /dev/input/event0}",
            "button.key is missing: button.kind evdev needs a key: `evtest DEVICE` shows its name",
        ),
        ("led: {kind: rgb}", "led.pins is missing: led.kind rgb needs three pins: [red, green, blue]"),
        ("led: {kind: rgb, pins: [5, 6, 5]}", "led.pins names a pin twice: each colour needs its own"),
        ("led: {kind: rgb, pins: [5, 6, 17]}", "led.pins and button.pin are both 17: wire them to two pins"),
        ("led: {pin: 17}", "led.pin and button.pin are both 17: wire them to two pins"),
        (
            "led: {kind: apa102}\nbutton: {pin: 10}",
            "led.spi and button.pin are both 10: wire them to two pins",
        ),
        (
            "button: {long_s: 0.5, hold_ms: 500}",
            "button.long_s 0.5 is shorter than a press to talk: more than button.hold_ms 500, or 0 for none",
        ),
        ("{board: aiy-voice-kit, led: {pin: 23}}", "led.pin and button.pin are both 23: wire them to two pins"),
        (
            "dictation: {backends: [locl]}",
            "dictation.backends.0 is 'locl', which is not in backends: did you mean local?",
        ),
        (
            "backends: {a b: {kind: flow, url: 'ws://h'}}",
            "backends.a b is not a good name: use letters, digits, - and _",
        ),
        (
            "backends: {local: {url: 'https://key@h'}}",
            "backends.local.url must start with ws://, wss:// or ws+unix://",
        ),
        (
            f"backends: {{local: {{url: 'ws+unix:///{'x' * 107}'}}}}",
            "backends.local.url names a path of more than 107 bytes: Linux takes no longer one for a socket",
        ),
        (
            "backends: {local: {url: 'ws+unix://run/x'}}",
            "backends.local.url must name an absolute path: as in ws+unix:///run/flowpi/asr.sock",
        ),
        ("backends: {local: {url: 'wss:///ws'}}", "backends.local.url names no host: as in wss://host.example"),
        (
            CLOUD + "packet_ms: 30}}",
            "backends.x.append_ms is not a multiple of packet_ms 30: an append is whole packets",
        ),
        (CLOUD + "client_key: a, api_key: b}}", "backends.x.api_key and client_key exclude each other: keep one"),
        (
            CLOUD + "token: {}}}",
            "backends.x.token must have either url or command: url asks a server, command runs a program",
        ),
        (
            CLOUD + "token: {command: [t], api_key: k}}}",
            "backends.x.token has an api_key that the command never gets: remove it",
        ),
        (
            "backends: {x: {kind: suki, url: 'wss://h', partner_id: p, partner_token: t}}",
            "backends.x.url must start with https:// or http://",
        ),
        ("server: {tls: {key: k}}", "server.tls.certificate is missing: server.tls.key needs it: name a PEM file"),
        (
            "server: {tls: {certificate: c}}",
            "server.tls.key is missing: server.tls.certificate needs it: name a PEM file",
        ),
        (
            "server: {listen: ['0.0.0.0:8123']}",
            "server.listen.0 0.0.0.0:8123 is open to other machines, and no keys are set: "
            "set server.api_keys or server.partners, or listen on 127.0.0.1",
        ),
        ("server: {listen: ['h:99999']}", "server.listen.0 is 'h:99999', but ports end at 65535: choose a lower port"),
    ],
)
def test_values_that_contradict_each_other(file: Path, text: str, message: str) -> None:
    assert refused(file, text) == f"f.yaml, line 1: {message}"


def test_without_a_preroll_nothing_is_read_while_idle(file: Path) -> None:
    file.write_text("audio: {buffer_ms: 500, preroll_ms: 0}")
    assert load(str(file)).audio.buffer_ms == 500


# Whatever is in the file, it is a configuration or a ConfigError


def subtrees(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for name, value in items:
        yield from subtrees(value, (*path, name))


FULL: dict[str, Any] = yaml.safe_load(with_examples(REFERENCE.read_text()))
PATHS = list(subtrees(FULL))
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
words = st.sampled_from(["kind", "url", "flow", "suki", "local", "wss://h", "mix", "env", "0"]) | st.text(max_size=8)
values = st.recursive(
    scalars | words, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3), max_leaves=6
)


def replaced(tree: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    if isinstance(tree, list):
        return [replaced(each, path[1:], value) if index == path[0] else each for index, each in enumerate(tree)]
    return {**tree, path[0]: replaced(tree[path[0]], path[1:], value)} if isinstance(tree, dict) else value


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(PATHS), value=values)
def test_any_value_anywhere_is_taken_or_refused(file: Path, path: tuple[Any, ...], value: Any) -> None:
    file.write_text(yaml.safe_dump(replaced(FULL, path, value), allow_unicode=False))
    try:
        config = load(str(file))
    except ConfigError as error:
        refusal = error
    else:
        assert "local" in config.backends
        return
    assert refusal.file == str(file)
    assert refusal.line is not None


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, len(REFERENCE.read_bytes())), cut=st.integers(0, 30), inserted=st.binary(max_size=6))
def test_any_bytes_anywhere_are_taken_or_refused(file: Path, at: int, cut: int, inserted: bytes) -> None:
    content = REFERENCE.read_bytes()
    file.write_bytes(content[:at] + inserted + content[at + cut :])
    with contextlib.suppress(ConfigError):
        load(str(file))


@settings(max_examples=100)
@given(override=st.text(max_size=20) | st.builds("{}={}".format, st.sampled_from(["audio", "led.pins"]), st.text()))
def test_any_override_is_taken_or_refused(override: str) -> None:
    with contextlib.suppress(ConfigError, UsageError):
        load(None, [override])


@pytest.mark.parametrize("url", ["ws://[::1", "ws://h:99999/", "wss://h:0/", "ws://h:http/"])
def test_a_url_that_is_no_address(url: str) -> None:
    with pytest.raises(ConfigError, match=r"backends\.house\.url is no address: as in wss?://host\.example:443"):
        load(None, [f"backends.house={{kind: flow, url: '{url}'}}"])


# Sections of version 0.1.0


def test_a_file_made_from_the_reference_of_0_1_0_still_loads(file: Path) -> None:
    file.write_text(
        "publish:\n  mqtt: {url: null, username: null, password: null, discovery: true}\n"
        "  command: {run: null, timeout_s: 30}\n  keyboard: {kind: none, layout: us}\n"
    )
    assert load(str(file)) == Config()
    file.write_text("publish:\n  mqtt:\n  command: {}\n")
    assert load(str(file)) == Config()
    file.write_text(
        "publish: {mqtt: {username: a, discovery: false}, command: {timeout_s: 5}, keyboard: {layout: de}}\n"
    )
    assert load(str(file)) == Config()


@pytest.mark.parametrize(
    "section",
    [
        "command:",
        "command: {timeout_s: 0}",
        "command: {run: null, timeout_s: null}",
        "mqtt: {discovery: null}",
        "keyboard: {layout: 3}",
        "keyboard: {kind: none, layout: qwerty}",
    ],
)
def test_a_section_that_0_1_0_did_not_use_may_hold_anything_while_it_is_off(file: Path, section: str) -> None:
    file.write_text(f"publish:\n  {section}\n")
    assert load(str(file)) == Config()


@pytest.mark.parametrize(
    "settings",
    [
        "password: 0451777",
        "password: 0x1F2E",
        "password: 12:34:56",
        "password hunter2secret: x",
    ],
)
def test_a_password_of_a_broker_is_in_no_error(file: Path, settings: str) -> None:
    said = refused(file, f"publish: {{mqtt: {{url: 'mqtt://h', {settings}}}}}")
    assert not any(secret in said for secret in ("451777", "1F2E", "7966", "12:34", "45296", "hunter2"))
