"""The machine of Home Assistant: a container with Mosquitto and Home Assistant as services, and their levers."""

import contextlib
import re
import time
from collections.abc import Callable
from typing import Any

from tests.rig.container import PATIENCE_S, Container
from tests.rig.home_assistant.api import Api, NotThere
from tests.rig.home_assistant.root import PROGRAM

CONFIGURATION = """\
homeassistant:
  {name: rig, time_zone: UTC, unit_system: metric, country: US, language: en, latitude: 0, longitude: 0, elevation: 0}
http: {server_host: 127.0.0.1}
automation: !include automations.yaml
conversation:
logger: {default: warning, logs: {homeassistant.components.conversation: debug, homeassistant.components.mqtt: info}}
"""

UNITS = {
    "home-assistant.service": f"""\
[Service]
ExecStart={PROGRAM} --config /var/lib/home-assistant --skip-pip --log-no-color
StateDirectory=home-assistant
""",
    # A way in that needs no network: a socket is found in the root of the container from outside too.
    "door.socket": "[Socket]\nListenStream=/door\n",
    "door.service": "[Service]\nExecStart=/usr/lib/systemd/systemd-socket-proxyd 127.0.0.1:8123\n",
}

RECORD = re.compile(r"^\d{4}-\S+ \S+ (\w+) \(.*\n(?:(?!\d{4}-\d\d-).*\n)*", re.MULTILINE)
"""A record of its log, with its traceback, and its level."""

OURS = re.compile(r"mqtt|flowpi|front.desk|automation|template")
"""What a record is about that concerns flowpi."""

EXPECTED = re.compile(
    r"mqtt.client\] (Error returned|Disconnected) from MQTT server|\[paho.mqtt.client\] failed to receive on socket"
    r"|Error talking to MQTT: The client is not currently connected|taking over \d+ seconds"
)
"""What it says of a broker that is gone, and of a busy machine."""


class House:
    """Home Assistant in a booted container of the layers `root.home_assistant`. Its first user is made by `move_in`."""

    def __init__(self, machine: Container) -> None:
        self.machine = machine
        self.api = Api(machine.path("/door"))
        for name, content in UNITS.items():
            machine.path(f"/etc/systemd/system/{name}").write_text(content)
        files = machine.path("/var/lib/home-assistant")
        files.mkdir(exist_ok=True)
        (files / "configuration.yaml").write_text(CONFIGURATION)
        (files / "automations.yaml").write_text("[]\n")

    def move_in(self) -> None:
        """Start it for the first time, and make a user."""
        self.machine.sh("systemctl daemon-reload && systemctl start door.socket home-assistant")
        self.until(self.api.onboard)

    def set_up_mqtt(self, **broker: object) -> None:
        """Add its integration of MQTT, as the form of its page does."""
        flow = self.api.post("/api/config/config_entries/flow", {"handler": "mqtt"})
        done = self.api.post(f"/api/config/config_entries/flow/{flow['flow_id']}", broker)
        assert done["type"] == "create_entry", done

    def automate(self, name: str, automation: object) -> None:
        """Save an automation, as its editor does."""
        self.api.post(f"/api/config/automation/config/{name}", automation)

    def start(self) -> None:
        """Start it, and wait until it has said at the broker that it is there."""
        born = self.births()
        self.begin()
        self.until(lambda: self.births() > born)

    def begin(self) -> None:
        """Start it, and wait for nothing."""
        self.machine.sh("systemctl start home-assistant")

    def stop(self) -> None:
        self.machine.sh("systemctl stop home-assistant")

    def kill(self) -> None:
        self.machine.sh("systemctl kill --signal=KILL home-assistant")
        self.machine.until("systemctl is-failed home-assistant")

    def births(self) -> int:
        """Return how often it has said at the broker that it is there."""
        return self.log().count("birth message sent")

    def states(self) -> dict[str, Any]:
        """Return the states of flowpi's entities, by their ids. Raises NotThere."""
        with self.api.session() as session:
            states = session.ask("get_states")
        return {one["entity_id"]: one for one in states if ".front_desk_" in one["entity_id"]}

    def press(self, entity: str, service: str) -> None:
        """Do with an entity what its page offers: `turn_on`, `press`."""
        domain = entity.partition(".")[0]
        with self.api.session() as session:
            session.ask("call_service", domain=domain, service=service, target={"entity_id": entity})

    def understood(self) -> list[str]:
        """Return the texts that its assistant was given since the beginning."""
        return re.findall(r"Processing in \S+: (.*)", self.log())

    def log(self) -> str:
        return self.machine.sh("journalctl --no-pager --output=cat --unit=home-assistant")

    def complaints(self) -> list[str]:
        """Return the warnings and errors in its log that are about flowpi, unless they were provoked."""
        records = [found[0] for found in RECORD.finditer(self.log()) if found[1] in ("WARNING", "ERROR", "CRITICAL")]
        return [record for record in records if OURS.search(record) and not EXPECTED.search(record)]

    def until(self, condition: Callable[[], object]) -> None:
        """Wait until a condition holds. While Home Assistant does not answer, it does not."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            with contextlib.suppress(NotThere):
                if condition():
                    return
            assert time.monotonic() < deadline, "\n".join(self.log().splitlines()[-50:])
            time.sleep(0.1)
