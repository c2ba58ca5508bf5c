"""What Home Assistant is told. `discovery.json` is the payload that was verified with 2026.2.3 and 2026.11.0."""

import json
from pathlib import Path
from typing import Any

import pytest

from flowpi.config.mqtt import MqttSettings
from flowpi.core.appliance import Finishing, Idle, Recording, Starting
from flowpi.host.machine import appliance_serial
from flowpi.publish.mqtt.discovery import STATES, Device, discovery
from flowpi.publish.mqtt.outgoing import Topics

VERIFIED = Path(__file__).with_name("discovery.json")
ALL = MqttSettings("mqtt://broker", last=True, commands=("record", "spool"))


FRONT_DESK = Device("front-desk", "0123456789abcdef", "0.1.0")


def told(settings: MqttSettings, device: Device = FRONT_DESK) -> Any:
    message = discovery(device, Topics.of(settings, device.name), settings)
    assert message.retain
    assert message.topic == f"{settings.discovery_prefix}/device/{device.id}/config"
    return json.loads(message.payload)


def test_with_everything_on_it_is_what_was_verified() -> None:
    assert told(ALL) == json.loads(VERIFIED.read_text())


def test_what_is_off_is_removed() -> None:
    components = told(MqttSettings("mqtt://broker"))["components"]
    removed = {key: one for key, one in components.items() if one.keys() == {"platform"}}
    assert removed == {
        "last_transcript": {"platform": "sensor"},
        "recording": {"platform": "switch"},
        "cancel": {"platform": "button"},
        "retry": {"platform": "button"},
    }


def test_each_component_is_known_again() -> None:
    components = told(ALL)["components"]
    named = {key: one for key, one in components.items() if one["platform"] != "device_automation"}
    assert (len(named), len(components)) == (13, 16)
    assert {one["unique_id"] for one in named.values()} == {f"flowpi_0123456789abcdef_{key}" for key in named}


def test_topics_and_prefixes_are_those_of_the_settings() -> None:
    settings = MqttSettings("mqtt://broker", topic_prefix="house/ground", discovery_prefix="ha/x")
    payload = json.dumps(told(settings))
    assert '"house/ground/front-desk/state"' in payload
    assert "flowpi/front-desk" not in payload


def test_an_id_of_any_letters_is_one_that_home_assistant_accepts() -> None:
    assert told(ALL, Device("bürö.1", "bürö.1", "0.1.0"))["device"]["identifiers"] == ["flowpi_b_r__1"]


def test_all_states_are_options() -> None:
    assert [state.name for state in (Starting, Idle, Recording, Finishing)] == STATES


@pytest.mark.parametrize(
    ("content", "known"), [("0123456789abcdef" * 2 + "\n", True), ("uninitialized\n", False), ("", False)]
)
def test_the_serial_stays_and_does_not_tell_the_machine_id(tmp_path: Path, content: str, known: bool) -> None:
    (tmp_path / "machine-id").write_text(content)
    serial = appliance_serial(tmp_path / "machine-id")
    assert serial == appliance_serial(tmp_path / "machine-id")
    assert (serial is not None) == known
    assert serial is None or (len(serial) == 16 and serial not in content)
    assert appliance_serial(tmp_path / "absent") is None


def test_a_second_daemon_on_the_machine_has_a_serial_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "machine-id").write_text("0123456789abcdef" * 2)

    def serial(state: str | None) -> str | None:
        if state is None:
            monkeypatch.delenv("STATE_DIRECTORY", raising=False)
        else:
            monkeypatch.setenv("STATE_DIRECTORY", state)
        return appliance_serial(tmp_path / "machine-id")

    # That of the service, and of a daemon without systemd, is in Home Assistant already: it must never change.
    first = {serial("/var/lib/flowpi"), serial(None), serial("/var/lib/flowpi:/var/lib/other")}
    assert first == {"67cfc6c7224f18b6"}
    assert len({serial("/var/lib/flowpi-2"), serial("/var/lib/flowpi-3")} - first) == 2
