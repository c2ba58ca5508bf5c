"""Which file is read, what YAML may hold, what goes on top, and how the result is shown."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from flowpi.config import loading
from flowpi.config.backends.flow import FlowSettings, TokenSettings
from flowpi.config.backends.suki import SukiSettings
from flowpi.config.loading import config_path, json_schema, load, masked, read_tree, to_yaml, warnings
from flowpi.config.schema import Config, ServerSettings, TlsSettings
from flowpi.config.secret import Secret, secrets
from flowpi.core.errors import ConfigError, NoInputError, NoPermissionError, UsageError
from flowpi.core.hints import Hints
from tests.config.refusals import refused, with_examples

REFERENCE = Path(__file__).parents[2] / "config" / "flowpi.yaml"
LITERAL = "s3cret-of-ada"
CLOUD = "backends: {x: {kind: flow, url: 'wss://h/ws', "
YAML_HINT = "a key, a colon, a space, a value; keys of one section under each other"


# The reference file


def test_the_reference_equals_the_defaults() -> None:
    assert load(str(REFERENCE)) == Config()


def test_every_key_is_in_the_reference() -> None:
    assert yaml.safe_load(REFERENCE.read_text()) == json.loads(json.dumps(masked(Config())))


def test_the_examples_in_the_reference_are_good(file: Path) -> None:
    file.write_text(with_examples(REFERENCE.read_text()))
    config = load(str(file))
    assert list(config.backends) == ["local", "cloud", "clinic"]
    cloud, clinic = config.backends["cloud"], config.backends["clinic"]
    assert isinstance(cloud, FlowSettings)
    assert cloud.client_key == Secret("credential", "wispr-client-key")
    assert isinstance(clinic, SukiSettings)
    assert clinic.partner_token == Secret("credential", "suki-partner-token")


# Which file


def test_built_in_defaults_work() -> None:
    assert config_path() is None
    assert load() == Config()


def test_the_environment_goes_before_the_system_and_the_option_before_both(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = Path(loading.DEFAULT_PATH)
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


# What YAML may hold


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("led:\n  pin: 5\n  pin: 6", "line 3: led.pin is set twice: it stands in line 2 too: remove one"),
        ("- 1", f"line 1: is not a mapping of keys to values: {YAML_HINT}"),
        (
            "led: [1",
            "line 1: is not YAML (while parsing a flow sequence did not find expected ',' or ']'): "
            "close the [, and put a comma between its values",
        ),
        (
            "a: 1\n--- \nb: 2",
            f"line 2: is not YAML (expected a single document in the stream but found another document): {YAML_HINT}",
        ),
        (
            "led:\n\tpin: 27",
            "line 2: is not YAML (while scanning for the next token found character that cannot start any token): "
            "write spaces in the place of tabs",
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
    file.write_text("context: {content_text: 2024-01-31, dictionary_context: [2000-13-45]}")
    assert load(str(file)).context == Hints(page_text="2024-01-31", terms=("2000-13-45",))


# --set


def test_overrides_go_on_top_and_the_last_one_wins(file: Path) -> None:
    file.write_text(f"audio: {{rate: 8000, device: a}}\n{CLOUD}client_key: x}}}}")
    overrides = ["audio.rate=9000", "audio.rate=44100", "backends.x.client_key={env: P}", "dictation.backends=[local]"]
    config = load(str(file), overrides)
    assert (config.audio.rate, config.audio.device) == (44100, "a")
    assert dict(secrets(config)) == {("backends", "x", "client_key"): Secret("env", "P")}


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


# Warnings


def test_a_literal_that_others_can_read(file: Path) -> None:
    file.write_text(f"server: {{partners: {{ward: {LITERAL}}}}}\n{CLOUD}token: {{url: 'https://h', api_key: k}}}}}}")
    file.chmod(0o644)
    config = load(str(file))
    advice = (
        f"can be read by every user of this machine: chmod 640 {file}, or use {{credential: NAME}} or {{file: PATH}}"
    )
    assert list(warnings(config, str(file))) == [
        f"{file}: backends.x.token.api_key {advice}",
        f"{file}: server.partners.ward {advice}",
    ]
    file.chmod(0o640)
    assert list(warnings(config, str(file))) == []


def test_a_literal_in_a_list_or_under_a_name(file: Path) -> None:
    file.write_text(f"server: {{api_keys: [{{env: K}}, {LITERAL}], partners: {{ward: {LITERAL}}}}}")
    file.chmod(0o644)
    said = "\n".join(warnings(load(str(file)), str(file)))
    assert f"{file}: server.api_keys.1 can be read" in said
    assert f"{file}: server.partners.ward can be read" in said
    assert said.count("can be read") == 2


def test_a_place_is_no_literal(file: Path) -> None:
    file.write_text("server: {partners: {ward: {env: P}}}")
    file.chmod(0o644)
    assert list(warnings(load(str(file)), str(file))) == []


def test_a_file_that_others_can_change(file: Path) -> None:
    file.touch()
    file.chmod(0o602)
    assert list(warnings(Config(), str(file))) == [
        f"{file} can be changed by every user of this machine: chmod o-w {file}"
    ]


def test_a_key_in_plain_text() -> None:
    config = Config(backends={"x": FlowSettings("ws://h", token=TokenSettings(command=("t",)))})
    assert list(warnings(config, None)) == ["backends.x sends its key over the network in plain text: use wss://"]


@pytest.mark.parametrize("keys", [{"api_keys": (Secret("literal", "k"),)}, {"partners": {"p": Secret("env", "K")}}])
def test_keys_of_the_server_in_plain_text(keys: dict[str, Any]) -> None:
    safe, reachable = ("unix:/s", "127.0.0.1:1", "[::1]:1", "localhost:1"), ("0.0.0.0:1", "[::]:1", "house:1")
    config = Config(server=ServerSettings(safe + reachable, **keys))
    plain = "takes keys over the network in plain text: set server.tls"
    assert list(warnings(config, None)) == [f"server.listen {address} {plain}" for address in reachable]
    assert not list(
        warnings(Config(server=ServerSettings(reachable, tls=TlsSettings("certificate", "key"), **keys)), None)
    )
    assert not list(warnings(Config(server=ServerSettings(reachable)), None))


# Showing


def test_what_is_shown_can_be_read_again(file: Path) -> None:
    config = load(
        None, ["led={kind: rgb, pins: [5, 6, 13]}", "device_id='no'", "context={dictionary_context: [Ärzte, 'yes']}"]
    )
    file.write_text(to_yaml(masked(config)))
    assert load(str(file)) == config


odd = st.text(
    st.sampled_from("k:0 -#'\"\\\u00a0\u00ad\u2009\u201c\u201d\u2019\u3000\ufeff\u0661é\U0001f468"), max_size=6
)


@given(st.dictionaries(odd, odd | st.lists(odd, max_size=2), max_size=3))
@example({"0\u00a0": "\u201cquoted\u201d", "k": "key:\u00a0value"})
def test_whatever_is_written_can_be_read_again(tree: dict[str, Any]) -> None:
    assert read_tree(to_yaml({"section": tree}).encode(), "file") == {"section": tree}


def test_schema_knows_every_section() -> None:
    schema = json_schema()
    assert set(schema["$defs"]["Config"]["properties"]) == set(Config.__struct_fields__)
    assert schema["$defs"]["AudioSettings"]["properties"]["rate"]["minimum"] == 8000
    assert json.loads(json.dumps(schema)) is not None


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError) as caught:
        load(str(tmp_path / "pipe"))
    assert str(caught.value) == f"{tmp_path / 'pipe'}: is a pipe: give a file"


def test_a_phrase_that_does_nothing_is_a_warning() -> None:
    config = load(None, ["server.vocabulary=[Ada, Bo, Ossington Vale]"])
    (warning,) = warnings(config, None)
    assert warning == "server.vocabulary: 'Bo' has fewer than 3 letters and does nothing: remove it"
