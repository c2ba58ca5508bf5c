"""What a daemon imports over its whole life: nothing for a sink that is not configured."""

from pathlib import Path

import pytest

from tests.rig.appliance import Appliance
from tests.waiting import wait_for

LIBRARIES = {"paho", "aiohttp", "flowpi.core.typing", "flowpi.keyboard"}

COMMON = ["audio.source=wav", "audio.path=flowpi/data/demo.wav", "button.kind=none"]
SINKS = {
    "none": (list[str](), set[str]()),
    "mqtt": (["publish.mqtt.url=mqtt://127.0.0.1:9"], {"paho"}),
    "webhook": (["publish.webhooks.one={url: 'http://127.0.0.1:9/'}"], {"aiohttp"}),
}


@pytest.mark.parametrize("name", SINKS)
def test_a_library_is_imported_only_for_its_sink(tmp_path: Path, name: str) -> None:
    sinks, wanted = SINKS[name]
    environment = {"STATE_DIRECTORY": str(tmp_path / "state"), "PYTHONPROFILEIMPORTTIME": "1"}
    with Appliance(tmp_path, *COMMON, *sinks, environment=environment) as appliance:
        appliance.serve("echo")
        daemon = appliance.start()
        client = appliance.connect().subscribe("transcript/final", "state")

        def tried() -> bool:
            states = [one["state"] for one in client.command(command="sinks", action="list")["sinks"]]
            return len(states) == len(sinks) and "opening" not in states

        wait_for(tried)  # a sink that is made later would begin behind the text
        client.record("start")
        client.record("stop")
        client.wait("transcript/final")
        if sinks:  # nobody is there
            client.wait("state", lambda state: state["faults"])
        assert daemon.end() == 0
        imported = {
            line.rpartition("|")[2].strip()
            for line in daemon.log.read_text().splitlines()
            if line.startswith("import time:")
        }
    assert "flowpi.backends.session" in imported  # it has dictated
    assert imported & LIBRARIES == wanted
