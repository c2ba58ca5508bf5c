"""What Home Assistant is told about this appliance: one message that describes the device and all its entities.

The payload was verified with Home Assistant 2026.2 and 2026.11; each of these cost a run to find:

- A state has at most 255 characters. A longer text would be lost, and written to the log of Home Assistant: the state
  is cut off, and the attributes have the whole text.
- An event entity that comes back from "unavailable" shows its last event again, and automations run a second time. So
  event entities are never unavailable (`"availability": null`).
- A component that is left out stays as it was. One that has nothing but its platform is removed.
- A component without a `unique_id` makes Home Assistant drop the whole device.
"""

import re
from typing import Any

import msgspec
from msgspec import Struct

from flowpi.config.mqtt import MqttSettings
from flowpi.publish.mqtt.outgoing import Outgoing, Topics

STATES = ["starting", "idle", "recording", "finishing"]
GESTURES = ["pressed", "released", "tap", "hold", "double", "long"]
TRIGGERS = {"tap": "button_short_press", "hold": "button_long_press", "double": "button_double_press"}
"""What Home Assistant calls the gestures that start an automation."""

SHORTENED = "{{ value_json.text if value_json.text | length <= 255 else value_json.text[:254] ~ '…' }}"

Component = dict[str, Any]


class Device(Struct, frozen=True):
    """What does not depend on the broker.

    Attributes:
        name: the device_id.
        serial: what stays the same if the appliance is renamed.
        version: of flowpi.
    """

    name: str
    serial: str
    version: str

    @property
    def id(self) -> str:
        """The id of the device, in the only letters that Home Assistant accepts."""
        return "flowpi_" + re.sub(r"[^a-zA-Z0-9_-]", "_", self.serial)


def discovery(device: Device, topics: Topics, settings: MqttSettings) -> Outgoing:
    """Return the message that announces the appliance. Components that the settings exclude are removed by it."""
    origin = {"name": "flowpi", "sw_version": device.version}
    payload = {
        "device": {
            "identifiers": [device.id],
            "name": device.name,
            "manufacturer": "flowpi",
            "model": "Dictation appliance",
            "sw_version": device.version,
        },
        "origin": origin,
        "availability": [{"topic": f"{topics.base}/availability"}],
        "components": _components(device, topics, settings),
    }
    return Outgoing(f"{settings.discovery_prefix}/device/{device.id}/config", msgspec.json.encode(payload), retain=True)


def _components(device: Device, topics: Topics, settings: MqttSettings) -> dict[str, Component]:
    found = {**_texts(topics.base), **_controls(topics), **_conditions(topics.base)}
    for key, component in found.items():
        component["unique_id"] = f"{device.id}_{key}"
    absent = set() if settings.last else {"last_transcript"}
    if "record" not in settings.commands:
        absent |= {"recording", "cancel"}
    if "spool" not in settings.commands:
        absent.add("retry")
    found |= {key: {"platform": found[key]["platform"]} for key in absent}
    return {**found, **_triggers(topics.base)}


def _texts(base: str) -> dict[str, Component]:
    """Return what is said, what is not understood, and what the button does."""
    last = f"{base}/transcript/last"
    return {
        "transcript": {
            "platform": "event",
            "name": "Transcript",
            "event_types": ["final"],
            "state_topic": f"{base}/transcript/final",
            "qos": 1,
            "value_template": "{{ dict(value_json, event_type='final') | to_json }}",
            "availability": None,
        },
        "failed": {
            "platform": "event",
            "name": "Dictation failed",
            "entity_category": "diagnostic",
            "event_types": ["kept", "lost"],
            "state_topic": f"{base}/transcript/failed",
            "qos": 1,
            "value_template": "{{ dict(value_json, event_type='kept' if value_json.retry else 'lost') | to_json }}",
            "availability": None,
        },
        "button": {
            "platform": "event",
            "name": "Button",
            "device_class": "button",
            "event_types": GESTURES,
            "state_topic": f"{base}/event/button",
            "value_template": "{{ {'event_type': value_json.kind} | to_json }}",
            "availability": None,
        },
        "last_transcript": {
            "platform": "sensor",
            "name": "Last transcript",
            "state_topic": last,
            "value_template": SHORTENED,
            "json_attributes_topic": last,
        },
    }


def _controls(topics: Topics) -> dict[str, Component]:
    """Return what a person may press on the dashboard."""

    def command(**members: str) -> str:
        return msgspec.json.format(msgspec.json.encode(members), indent=0).decode()

    def button(name: str, **members: str) -> Component:
        press = {"command_topic": topics.command, "qos": 1, "retain": False, "payload_press": command(**members)}
        return {"platform": "button", "name": name, **press}

    return {
        "recording": {
            "platform": "switch",
            "name": "Recording",
            "state_topic": f"{topics.base}/state",
            "value_template": "{{ 'ON' if value_json.state == 'recording' else 'OFF' }}",
            "state_on": "ON",
            "state_off": "OFF",
            "command_topic": topics.command,
            "qos": 1,
            "retain": False,
            "payload_on": command(command="record", action="start"),
            "payload_off": command(command="record", action="stop"),
        },
        "cancel": button("Cancel dictation", command="record", action="cancel"),
        "retry": button("Retry kept dictations", command="spool", action="retry"),
    }


def _conditions(base: str) -> dict[str, Component]:
    """Return how the appliance is."""
    state, stats = {"state_topic": f"{base}/state"}, {"state_topic": f"{base}/stats"}
    diagnostic = {"entity_category": "diagnostic"}
    faults = "{{ 'ON' if value_json.faults | %s('code', 'eq', 'muted') | list else 'OFF' }}"
    return {
        "state": {
            "platform": "sensor",
            "name": "State",
            "device_class": "enum",
            "options": STATES,
            **state,
            "value_template": "{{ value_json.state }}",
        },
        "muted": {"platform": "binary_sensor", "name": "Muted", **state, "value_template": faults % "selectattr"},
        "problem": {
            "platform": "binary_sensor",
            "name": "Problem",
            "device_class": "problem",
            **diagnostic,
            **state,
            "value_template": faults % "rejectattr",
            "json_attributes_topic": f"{base}/state",
            "json_attributes_template": "{{ {'faults': value_json.faults} | to_json }}",
        },
        "spooled": {
            "platform": "sensor",
            "name": "Waiting for text",
            "state_class": "measurement",
            **diagnostic,
            **state,
            "value_template": "{{ value_json.spooled }}",
        },
        "delivered": {
            "platform": "sensor",
            "name": "Delivered",
            "state_class": "total_increasing",
            **diagnostic,
            **stats,
            "value_template": "{{ value_json.delivered }}",
        },
        "release_to_final_ms": {
            "platform": "sensor",
            "name": "Release to text",
            "device_class": "duration",
            "unit_of_measurement": "ms",
            "state_class": "measurement",
            "suggested_display_precision": 0,
            **diagnostic,
            **stats,
            "value_template": "{{ value_json.release_to_final_ms }}",
        },
    }


def _triggers(base: str) -> dict[str, Component]:
    """Return the gestures of the button that start an automation."""
    return {
        f"trigger_{gesture}": {
            "platform": "device_automation",
            "automation_type": "trigger",
            "type": kind,
            "subtype": "button",
            "topic": f"{base}/event/button",
            "value_template": "{{ value_json.kind }}",
            "payload": gesture,
        }
        for gesture, kind in TRIGGERS.items()
    }
