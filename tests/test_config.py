"""The configuration: what is read, and in which words it is refused."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowpi import config_file
from flowpi.config import LOCAL_URL, Config, FlowBackend, MqttSink, Publish, Secret, SukiBackend, Token
from flowpi.config_file import config_path, json_schema, load, masked, to_yaml, warnings
from flowpi.core.errors import ConfigError, NoInputError, NoPermissionError, UsageError

REFERENCE = Path(__file__).parents[1] / "config" / "flowpi.yaml"
CLOUD = "backends: {x: {kind: flow, url: 'wss://h/ws', "


@pytest.fixture(autouse=True)
def _no_system_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FLOWPI_CONFIG", raising=False)
    monkeypatch.setattr(config_file, "DEFAULT_PATH", str(tmp_path / "etc" / "flowpi.yaml"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "f.yaml"


def refused(file: Path, text: str, *overrides: str) -> str:
    """The error, without the directory of the file."""
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(str(file), overrides)
    return str(caught.value).replace(str(file), file.name)


# The reference file


def test_the_reference_equals_the_defaults() -> None:
    assert load(str(REFERENCE)) == Config()


def test_every_key_is_in_the_reference() -> None:
    assert yaml.safe_load(REFERENCE.read_text()) == json.loads(json.dumps(masked_without_tags()))


def masked_without_tags() -> dict[str, Any]:
    return masked(Config())


def test_the_examples_in_the_reference_are_good(file: Path) -> None:
    file.write_text(re.sub(r"^  # ", "  ", REFERENCE.read_text(), flags=re.MULTILINE))
    config = load(str(file))
    assert list(config.backends) == ["local", "cloud", "clinic"]
    cloud, clinic = config.backends["cloud"], config.backends["clinic"]
    assert isinstance(cloud, FlowBackend)
    assert cloud.client_key == Secret("credential", "wispr-client-key")
    assert isinstance(clinic, SukiBackend)
    assert clinic.partner_token == Secret("credential", "suki-partner-token")


# Which file


def test_built_in_defaults_work() -> None:
    assert config_path() is None
    assert load() == Config()


def test_the_environment_goes_before_the_system_and_the_option_before_both(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = Path(config_file.DEFAULT_PATH)
    system.parent.mkdir()
    system.write_text("device_id: system")
    assert load().device_id == "system"
    file.write_text("device_id: environment")
    monkeypatch.setenv("FLOWPI_CONFIG", str(file))
    assert load().device_id == "environment"
    option = tmp_path / "option.yaml"
    option.write_text("device_id: option")
    assert load(str(option)).device_id == "option"


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "\ufeff", "{}"])
def test_an_empty_file_is_the_defaults(file: Path, text: str) -> None:
    file.write_text(text)
    assert load(str(file)) == Config()


def test_no_such_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoInputError) as caught:
        load(str(file))
    hint = "check the path, or copy config/flowpi.yaml there"
    assert str(caught.value) == f"there is no configuration file {file}: {hint}"
    monkeypatch.setenv("FLOWPI_CONFIG", str(file))
    with pytest.raises(NoInputError) as caught:
        load()
    assert str(caught.value) == f"there is no configuration file {file} (from $FLOWPI_CONFIG): {hint}"


def test_a_directory(tmp_path: Path) -> None:
    with pytest.raises(NoInputError) as caught:
        load(str(tmp_path))
    assert str(caught.value) == f"{tmp_path} is a directory: name the file in it"


def test_a_file_that_may_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)  # root, who may run this, can read everything
    with pytest.raises(NoPermissionError) as caught:
        load("/x/f.yaml")
    assert str(caught.value) == "may not read /x/f.yaml: check `ls -l /x/f.yaml` and your groups"


@pytest.mark.parametrize("path", ["/proc/self/mem", "a\0b", "x" * 5000])
def test_what_is_no_file(path: str) -> None:
    with pytest.raises(NoInputError, match="cannot read"):
        load(path)


# What is refused, in the words that the owner sees


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("audio:\n  ratee: 1", "line 2: audio.ratee is not a known key: did you mean audio.rate?"),
        ("mqtt: {}", "line 1: mqtt is not a known key: did you mean publish.mqtt?"),
        ("led: {zzz: 1}", "line 1: led.zzz is not a known key: known here: kind, pin, pins, brightness"),
        ("audio:\n  rate: 1", "line 2: audio.rate must be a whole number from 8000 to 192000, not 1"),
        ("audio: {rate: fast}", "line 1: audio.rate must be a whole number from 8000 to 192000, not 'fast'"),
        (
            "spool: {max_mb: 1000000000}",
            "line 1: spool.max_mb must be a whole number from 1 to 1000000, not 1000000000",
        ),
        ("led: {brightness: 2}", "line 1: led.brightness must be a number from 0 to 1, not 2"),
        ("audio: {source: alsaa}", "line 1: audio.source must be alsa or wav, not 'alsaa': did you mean alsa?"),
        ("audio: {channel: mox}", "line 1: audio.channel must be mix or a whole number from 0 to 31, not 'mox'"),
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
            "publish:\n  mqtt:\n    password: 12345",
            "line 3: publish.mqtt.password must be text, {credential: NAME}, {file: PATH} or {env: NAME} or null, not this: "
            "put it in quotes, or YAML takes it for something else",
        ),
        (
            "publish: {mqtt: {password: {credental: k}}}",
            "line 1: publish.mqtt.password must be text, {credential: NAME}, {file: PATH} or {env: NAME} or null, "
            "not a mapping",
        ),
        ("backends: 3", "line 1: backends must be a mapping, not 3"),
        ("backends: {x: 3}", "line 1: backends.x must be a mapping, not 3"),
        ("backends: {x: {url: u}}", "line 1: backends.x.kind is missing: it must be flow or suki"),
        ("backends: {x: {kind: flo}}", "line 1: backends.x.kind must be flow or suki, not 'flo': did you mean flow?"),
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
            "backends: {local: {url: 'ws+unix://run/x'}}",
            "backends.local.url must name an absolute path: as in ws+unix:///run/flowpi/asr.sock",
        ),
        ("backends: {local: {url: 'wss:///ws'}}", "backends.local.url names no host: as in wss://host.example"),
        (
            "publish: {mqtt: {url: 'mqtt://ada:k3y@h'}}",
            "publish.mqtt.url holds a user name or password: they have keys of their own",
        ),
        (
            CLOUD + "packet_ms: 30}}",
            "backends.x.append_ms is not a multiple of packet_ms 30: an append is whole packets",
        ),
        (CLOUD + "client_key: a, api_key: b}}", "backends.x.api_key and client_key exclude each other: keep one"),
        (
            CLOUD + "token: {}}}",
            "backends.x.token must have either url or command: url asks a server, command runs a program",
        ),
        (CLOUD + "token: {url: 'https://h'}}}", "backends.x.token has no api_key: token.url needs one"),
        (
            CLOUD + "token: {command: [t], api_key: k}}}",
            "backends.x.token has an api_key that the command never gets: remove it",
        ),
        (
            "backends: {x: {kind: suki, url: 'wss://h', partner_id: p, partner_token: t}}",
            "backends.x.url must start with https:// or http://",
        ),
        ("server: {listen: ['h:99999']}", "server.listen.0 is 'h:99999', but ports end at 65535: choose a lower port"),
    ],
)
def test_values_that_contradict_each_other(file: Path, text: str, message: str) -> None:
    assert refused(file, text) == f"f.yaml, line 1: {message}"


YAML_HINT = "a key, a colon, a space, a value; keys of one section under each other"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("led:\n  pin: 5\n  pin: 6", "line 3: led.pin is set twice: it stands in line 2 too: remove one"),
        ("- 1", f"line 1: is not a mapping of keys to values: {YAML_HINT}"),
        (
            "led: [1",
            f"line 2: is not YAML (while parsing a flow sequence did not find expected ',' or ']'): {YAML_HINT}",
        ),
        (
            "a: 1\n--- \nb: 2",
            f"line 2: is not YAML (expected a single document in the stream but found another document): {YAML_HINT}",
        ),
        ("a: *b", f"line 1: is not YAML (found undefined alias): {YAML_HINT}"),
        ("a: 1\nb: \x01", "line 2: has a control character: remove it, or write it in quotes as \\xNN"),
        ("? [a]\n: 1", "line 1: has a key that is not text: a { or [ too many?"),
        ("&a x: &b {y: *b}", "line 1: x has too many values: aliases (*name) multiply: write values out"),
        (
            "led: {brightness: .nan}",
            "line 1: led.brightness is not a number that flowpi can use: write a plain number, or quote text",
        ),
        (
            "led: {pin: !!int x}",
            "line 1: led.pin is not a number that flowpi can use: write a plain number, or quote text",
        ),
        (
            f"led: {{pin: 1{'0' * 5000}}}",
            "line 1: led.pin is not a number that flowpi can use: write a plain number, or quote text",
        ),
    ],
)
def test_not_the_yaml_of_a_configuration(file: Path, text: str, message: str) -> None:
    assert refused(file, text) == f"f.yaml, {message}"


def test_aliases_cannot_multiply(file: Path) -> None:
    lines = ["context:", "  a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"  a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert refused(file, "\n".join(lines)).endswith("has too many values: aliases (*name) multiply: write values out")


@pytest.mark.parametrize("text", ["[" * 100_000 + "]" * 100_000, "{a: " * 5000 + "}" * 5000, "- " * 100_000])
def test_deep_nesting(file: Path, text: str) -> None:
    assert refused(file, text).startswith("f.yaml")


def test_not_utf8(file: Path) -> None:
    file.write_bytes(b"led: {}\ndevice_id: caf\xe9\n")
    with pytest.raises(ConfigError, match=r"f\.yaml, line 2: is not UTF-8 text: save it as UTF-8$"):
        load(str(file))


def test_too_large(file: Path) -> None:
    assert refused(file, "#" * 2_000_000) == "f.yaml: is larger than 1 MiB: this is hardly a configuration of flowpi"


def test_a_date_in_the_context_stays_text(file: Path) -> None:
    file.write_text("context: {since: 2024-01-31, at: 2000-13-45}")
    assert load(str(file)).context == {"since": "2024-01-31", "at": "2000-13-45"}


# --set


def test_overrides_go_on_top_and_the_last_one_wins(file: Path) -> None:
    file.write_text("audio: {rate: 8000, device: a}\npublish: {mqtt: {password: x}}")
    overrides = ["audio.rate=9000", "audio.rate=44100", "publish.mqtt.password={env: P}", "dictation.backends=[local]"]
    config = load(str(file), overrides)
    assert (config.audio.rate, config.audio.device) == (44100, "a")
    assert config.publish.mqtt.password == Secret("env", "P")


def test_override_of_null(file: Path) -> None:
    file.write_text("device_id: a")
    assert load(str(file), ["device_id="]).device_id is None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("audio.rate=5", "--set: audio.rate must be a whole number from 8000 to 192000, not 5"),
        ("audio.ratee=5", "--set: audio.ratee is not a known key: did you mean audio.rate?"),
        ("audio=5", "--set: audio must be a mapping, not 5"),
        (
            "led.pin=[",
            f"--set: led.pin is not YAML (while parsing a flow node did not find expected node content): {YAML_HINT}",
        ),
        ("led.pin=\udcff", "--set: led.pin is not UTF-8 text: save it as UTF-8"),
    ],
)
def test_a_bad_override(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, [override])
    assert str(caught.value) == message


@pytest.mark.parametrize("override", ["audio.rate", "=5", "audio..rate=5", ""])
def test_an_override_that_is_none(override: str) -> None:
    with pytest.raises(UsageError, match=r" is not KEY=VALUE: as in --set audio.device=plughw:CARD=Device$"):
        load(None, [override])


# The local backend


def test_local_stays_beside_the_backends_of_the_owner(file: Path) -> None:
    file.write_text(CLOUD + "}}")
    assert load(str(file)).backends["local"] == FlowBackend(LOCAL_URL)


def test_one_key_of_local_can_be_changed() -> None:
    config = load(None, ["backends.local.url=ws://pi:8123/api/v1/dash/ws"])
    assert config.backends["local"] == FlowBackend("ws://pi:8123/api/v1/dash/ws")


# Secrets

LITERAL = "s3cret-of-ada"


def test_a_secret_never_shows_itself(file: Path) -> None:
    file.write_text(f"publish: {{mqtt: {{password: {LITERAL}}}}}")
    config = load(str(file))
    assert config.publish.mqtt.password is not None
    assert config.publish.mqtt.password.resolve() == LITERAL
    for shown in (repr(config), str(config.publish.mqtt.password), f"{config}", to_yaml(masked(config))):
        assert LITERAL not in shown
    with pytest.raises(TypeError):
        json.dumps(config.publish.mqtt.password)


def test_masked_names_the_places(file: Path) -> None:
    config = Config(publish=Publish(mqtt=MqttSink(password=Secret("file", "/run/p"))))
    assert masked(config)["publish"]["mqtt"]["password"] == {"file": "/run/p"}


def test_secrets_compare_and_so_a_reload_sees_the_change() -> None:
    assert Secret("literal", "a") == Secret("literal", "a") != Secret("literal", "b")
    assert Secret("env", "a") != Secret("file", "a")
    assert len({Secret("env", "a"), Secret("env", "a")}) == 1
    assert Secret("env", "a") != "a"


def test_resolve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text("k3y\n")
    monkeypatch.setenv("KEY", "k4y")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert Secret("file", str(tmp_path / "key")).resolve() == "k3y"
    assert Secret("credential", "key").resolve() == "k3y"
    assert Secret("env", "KEY").resolve() == "k4y"


def test_resolve_of_what_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEY", raising=False)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert unresolved(Secret("env", "KEY")) == "secret {env: KEY}: $KEY is not set: set it in the environment of flowpi"
    assert unresolved(Secret("credential", "key")) == (
        "secret {credential: key}: systemd passed no credentials ($CREDENTIALS_DIRECTORY is not set): "
        "add LoadCredential=key:PATH to the unit, or use {file: PATH}"
    )
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert unresolved(Secret("credential", "key")) == (
        "secret {credential: key}: cannot read it (No such file or directory): add LoadCredential=key:PATH to the unit"
    )
    assert unresolved(Secret("file", "/absent")) == (
        "secret {file: /absent}: cannot read it (No such file or directory): "
        "check that the path is right and the user of flowpi may read it"
    )


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "it is empty: put the secret there"),
        (b" \n", "it is empty: put the secret there"),
        (b"a\r\nHost: evil", "it is not one line of text: put only the secret there"),
        (b"\xff\xfe", "it is not one line of text: put only the secret there"),
        (b"a" * 70_000, "the file is too large for a secret: put only the secret into it"),
    ],
)
def test_resolve_of_what_is_no_secret(file: Path, content: bytes, problem: str) -> None:
    file.write_bytes(content)
    assert unresolved(Secret("file", str(file))) == f"secret {{file: {file}}}: {problem}"


def unresolved(secret: Secret) -> str:
    with pytest.raises(ConfigError) as caught:
        secret.resolve()
    return str(caught.value)


@pytest.mark.parametrize("value", ["", 3, None, {}, {"env": ""}, {"env": "A", "file": "b"}, {"credential": "../a"}, []])
def test_what_is_no_secret(value: object) -> None:
    with pytest.raises(ValueError, match="^not a secret$"):
        Secret.parse(value)


# Warnings


def test_a_literal_that_others_can_read(file: Path) -> None:
    file.write_text(f"publish: {{mqtt: {{password: {LITERAL}}}}}\n{CLOUD}token: {{url: 'https://h', api_key: k}}}}}}")
    file.chmod(0o644)
    config = load(str(file))
    advice = (
        f"can be read by every user of this machine: chmod 640 {file}, or use {{credential: NAME}} or {{file: PATH}}"
    )
    assert list(warnings(config, str(file))) == [
        f"{file}: backends.x.token.api_key {advice}",
        f"{file}: publish.mqtt.password {advice}",
    ]
    file.chmod(0o640)
    assert list(warnings(config, str(file))) == []


def test_a_place_is_no_literal(file: Path) -> None:
    file.write_text("publish: {mqtt: {password: {env: P}}}")
    file.chmod(0o644)
    assert list(warnings(load(str(file)), str(file))) == []


def test_a_file_that_others_can_change(file: Path) -> None:
    file.touch()
    file.chmod(0o602)
    assert list(warnings(Config(), str(file))) == [
        f"{file} can be changed by every user of this machine: chmod o-w {file}"
    ]


def test_a_key_in_plain_text() -> None:
    config = Config(backends={"x": FlowBackend("ws://h", token=Token(command=("t",)))})
    assert list(warnings(config, None)) == ["backends.x sends its key over the network in plain text: use wss://"]


# Showing


def test_what_is_shown_can_be_read_again(file: Path) -> None:
    config = load(None, ["led={kind: rgb, pins: [5, 6, 13]}", "device_id='no'", "context={names: [Ärzte, 'yes']}"])
    file.write_text(to_yaml(masked(config)))
    assert load(str(file)) == config


def test_schema_knows_every_section() -> None:
    schema = json_schema()
    assert set(schema["$defs"]["Config"]["properties"]) == set(Config.__struct_fields__)
    assert schema["$defs"]["Audio"]["properties"]["rate"]["minimum"] == 8000
    assert json.loads(json.dumps(schema)) is not None


# Whatever is in the file, it is a configuration or a ConfigError


def subtrees(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for name, value in items:
        yield from subtrees(value, (*path, name))


FULL: dict[str, Any] = yaml.safe_load(re.sub(r"^  # ", "  ", REFERENCE.read_text(), flags=re.MULTILINE))
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


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(PATHS), value=values)
def test_any_value_anywhere_is_taken_or_refused(file: Path, path: tuple[Any, ...], value: Any) -> None:
    file.write_text(yaml.safe_dump(replaced(FULL, path, value), allow_unicode=False))
    try:
        config = load(str(file))
    except ConfigError as error:
        assert error.file == str(file)
        assert error.line is not None
    else:
        assert "local" in config.backends


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, len(REFERENCE.read_bytes())), cut=st.integers(0, 30), inserted=st.binary(max_size=6))
def test_any_bytes_anywhere_are_taken_or_refused(file: Path, at: int, cut: int, inserted: bytes) -> None:
    content = REFERENCE.read_bytes()
    file.write_bytes(content[:at] + inserted + content[at + cut :])
    try:
        load(str(file))
    except ConfigError as error:
        assert error.file == str(file)


@settings(deadline=None, max_examples=100)
@given(override=st.text(max_size=20) | st.builds("{}={}".format, st.sampled_from(["audio", "led.pins"]), st.text()))
def test_any_override_is_taken_or_refused(override: str) -> None:
    try:
        load(None, [override])
    except (ConfigError, UsageError):
        pass
