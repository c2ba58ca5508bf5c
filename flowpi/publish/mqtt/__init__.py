"""MQTT: the sink, its connection to the broker, and what it announces to Home Assistant.

What is here is the row of `SINKS`. paho is imported only when the sink is made.
"""

from typing import TYPE_CHECKING, NamedTuple

from flowpi.config.mqtt import MqttSettings
from flowpi.config.schema import Config
from flowpi.core.errors import SinkError
from flowpi.host.machine import device_id
from flowpi.publish.socket_client import Command

if TYPE_CHECKING:
    from flowpi.publish.sinks import Sink


class MqttAppliance(NamedTuple):
    """What the sink is made from; `settings` have a `url`."""

    settings: MqttSettings
    device_id: str


def settings(config: Config) -> dict[str, MqttAppliance]:
    """Return what the sink is made from, by its name; empty if it is not configured."""
    mqtt = config.publish.mqtt
    return {} if mqtt.url is None else {"mqtt": MqttAppliance(mqtt, device_id(config))}


def follows_texts(appliance: MqttAppliance) -> bool:
    """Return True: the broker receives each text."""
    return True


def make(appliance: MqttAppliance, command: Command | None) -> "Sink":
    """Return the sink. Called on a thread, because the import takes a while. Raises SinkError without paho."""
    try:
        from flowpi.publish.mqtt.sink import MqttSink
    except ImportError as error:
        raise SinkError(f"MQTT needs {error.name}", "pip install 'flowpi[mqtt]'") from error
    return MqttSink(appliance.settings, appliance.device_id, command)
