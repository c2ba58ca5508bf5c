"""The settings of MQTT: the mistakes that people make in them, and what is said of each."""

from pathlib import Path
from typing import Any

import pytest

from flowpi.config.loading import load, warnings
from flowpi.config.mqtt import MqttSettings
from tests.config.refusals import refused

CONTROL = r"has a control character: write it in quotes without \n, \t and the like"
HOST = "names a host that is too long: a name has 253 characters, and 63 between two dots"


@pytest.mark.parametrize(
    "url",
    [
        "mqtt://broker",
        "mqtt://broker:1884/",
        "mqtts://[2001:db8::1]:8883",
        "ws://broker/mqtt",
        "wss://broker:443/mqtt",
        "unix:///run/mosquitto/mosquitto.sock",
        f"mqtt://{'h' * 63}.{'h.' * 94}h.",
    ],
)
def test_urls(url: str) -> None:
    assert load(None, [f"publish.mqtt.url={url}"]).publish.mqtt == MqttSettings(url)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("{url: broker}", "url must start with mqtt://, mqtts://, ws://, wss:// or unix://"),
        ("{url: 'http://broker'}", "url must start with mqtt://, mqtts://, ws://, wss:// or unix://"),
        ("{url: 'mqtt://'}", "url names no host: as in mqtt://host.example"),
        ("{url: 'mqtt://pi:s3cret@broker'}", "url holds a user name or password: they have keys of their own"),
        ("{url: 'mqtt://broker:99999'}", "url is no address: as in mqtt://host.example:443"),
        ("{url: 'mqtt://broker/mqtt'}", "url names a path, which only ws:// and wss:// have: remove it"),
        (
            "{url: 'unix://mosquitto.sock'}",
            "url must name an absolute path: as in unix:///run/mosquitto/mosquitto.sock",
        ),
        (
            f"{{url: 'unix:///{'x' * 200}'}}",
            "url names a path of more than 107 bytes: Linux takes no longer one for a socket",
        ),
        (
            "{url: 'mqtt://broker', password: s3cret}",
            "username is missing: publish.mqtt.password needs it",
        ),
        (
            "{url: 'mqtts://broker', key: /k.pem}",
            "certificate is missing: publish.mqtt.key needs it: name a PEM file",
        ),
        (
            "{url: 'mqtts://broker', certificate: /c.pem}",
            "key is missing: publish.mqtt.certificate needs it: name a PEM file",
        ),
        (
            "{url: 'mqtt://broker', ca_file: /ca.pem}",
            "ca_file is never used with mqtt://: use mqtts:// or wss://, or remove it",
        ),
        ("{url: 'mqtts://broker', ca_file: ~/ca.pem}", "ca_file is '~/ca.pem', and neither ~ nor $ is replaced here"),
        ("{url: 'mqtts://broker', certificate: /c, key: ~/k}", "key is '~/k', and neither ~ nor $ is replaced here"),
        ('{url: "mqtt://bro\\u0001ker"}', f"url {CONTROL}"),
        ('{url: "unix:///run/\\0/mosquitto.sock"}', f"url {CONTROL}"),
        (f"{{url: 'mqtt://{'h.' * 127}h'}}", f"url {HOST}"),
        (f"{{url: 'mqtt://{'h' * 64}.lan:1883'}}", f"url {HOST}"),
        ('{url: "mqtt://broker", username: "a\\0b"}', f"username {CONTROL}"),
        *(
            (
                f"{{url: 'mqtt://broker', topic_prefix: {prefix}, discovery_prefix: {discovery}}}",
                f"topic_prefix '{prefix}' and publish.mqtt.discovery_prefix '{discovery}' overlap: neither may begin",
            )
            for prefix, discovery in (("a", "a"), ("a/b", "a"), ("a", "a/b"))
        ),
        ("{commands: [record, status]}", "commands.1 must be record or spool, not 'status'"),
        ("{port: 1}", "port is not a known key"),
        *(
            (f"{{topic_prefix: '{prefix}'}}", "topic_prefix must be levels of an MQTT topic, such as house/desk, ")
            for prefix in ("a/+", "#", "a#", "/a", "a/", "a//b", "a b", "$SYS", "")
        ),
        ("{discovery_prefix: 'home/#'}", "discovery_prefix must be levels of an MQTT topic"),
    ],
)
def test_mistakes(tmp_path: Path, settings: str, message: str) -> None:
    said = refused(tmp_path / "f.yaml", f"publish: {{mqtt: {settings}}}")
    assert said.startswith(f"f.yaml, line 1: publish.mqtt.{message}")
    assert "s3cret" not in said


@pytest.mark.parametrize(
    ("name", "bytes_each", "settings"),
    [("username", 2, "username: '{}'"), ("password", 1, "username: pi, password: '{}'")],
)
def test_no_more_than_mqtt_can_send(tmp_path: Path, name: str, bytes_each: int, settings: str) -> None:
    text = "é" * 32_768 if bytes_each == 2 else "s" * 65_536
    file = tmp_path / "f.yaml"
    said = refused(file, f"publish: {{mqtt: {{url: 'mqtt://broker', {settings.format(text)}}}}}")
    problem = "is 65536 bytes long, and MQTT sends 65535 at most: choose a shorter one"
    assert said == f"f.yaml, line 1: publish.mqtt.{name} {problem}"
    file.write_text(f"publish: {{mqtt: {{url: 'mqtt://broker', {settings.format(text[1:])}}}}}")
    assert load(str(file)).publish.mqtt.url == "mqtt://broker"


def test_prefixes_that_begin_with_the_same_letters() -> None:
    overrides = [
        f"publish.mqtt.{one}" for one in ("url=mqtt://h", "topic_prefix=home", "discovery_prefix=homeassistant")
    ]
    assert load(None, overrides).publish.mqtt.topic_prefix == "home"


def test_what_is_set_without_a_url_is_kept_for_later() -> None:
    mqtt = load(None, ["publish.mqtt.username=pi", "publish.mqtt.key=/k.pem"]).publish.mqtt
    assert mqtt == MqttSettings(username="pi", key="/k.pem")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, []),
        ({"url": "mqtt://127.0.0.1"}, []),
        ({"url": "mqtts://broker"}, []),
        ({"url": "unix:///run/mosquitto.sock"}, []),
        (
            {"url": "mqtt://broker"},
            ["publish.mqtt sends all texts over the network in plain text: use mqtts://"],
        ),
        (
            {"url": "ws://broker", "username": "pi", "password": {"file": "/p"}},
            [
                "publish.mqtt.password: there is no file '/p': put it there, or correct the path",
                "publish.mqtt sends its password and all texts over the network in plain text: use wss://",
            ],
        ),
    ],
)
def test_warnings(settings: dict[str, Any], said: list[str]) -> None:
    overrides = [f"publish.mqtt.{name}={value}" for name, value in settings.items() if name != "password"]
    if "password" in settings:
        overrides.append("publish.mqtt.password={file: /p}")
    assert list(warnings(load(None, overrides), None, overrides)) == said


def test_a_file_that_is_missing_is_a_warning_as_the_file_may_be_for_another_machine(tmp_path: Path) -> None:
    settings = MqttSettings(
        "mqtts://broker", ca_file=str(tmp_path / "ca"), certificate="/no/c", key=str(tmp_path / "k")
    )
    (tmp_path / "ca").touch()
    absent = "there is no file {!r}: put it there, or correct the path"
    assert list(settings.warnings()) == [
        f"publish.mqtt.certificate: {absent.format('/no/c')}",
        f"publish.mqtt.key: {absent.format(str(tmp_path / 'k'))}",
    ]
    (tmp_path / "ca").unlink()
    assert next(settings.warnings()) == f"publish.mqtt.ca_file: {absent.format(str(tmp_path / 'ca'))}"


def test_a_file_in_a_folder_that_this_user_may_not_look_into(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(path)

    monkeypatch.setattr("flowpi.config.secret.os.stat", refuse)
    assert list(MqttSettings("mqtts://broker", ca_file="/etc/flowpi/ca").warnings()) == []
