"""The daemon on a disk that cannot be used when it starts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rig.appliance import Appliance
from tests.rig.microphone import Microphone
from tests.spool.absent_disk import AbsentDisk


@pytest.fixture
def appliance(tmp_path: Path, microphone: Microphone) -> Iterator[Appliance]:
    with Appliance(tmp_path, "audio.device=clock") as appliance:
        yield appliance


def codes(state: dict[str, Any]) -> list[str]:
    return [fault["code"] for fault in state["faults"]]


@pytest.mark.promise("P6")
def test_it_starts_and_takes_the_disk_when_it_is_there(appliance: Appliance) -> None:
    directory = appliance.directory
    for name in ("spool", "transcripts"):
        (directory / name).touch()  # as good as a disk that cannot be written
    appliance.serve("echo")
    appliance.start()
    client = appliance.connect().subscribe("state", "transcript/final")
    client.wait("state", lambda state: {"spool", "transcripts"} <= set(codes(state)))
    client.record("start")
    stopped = client.record("stop")
    assert stopped["ok"]
    assert not stopped["recorded"]
    said = client.wait("transcript/final")["id"]
    refused = appliance.run("record", "start"), appliance.run("record", "stop")
    assert [done.returncode for done in refused] == [0, 74]
    for name in ("spool", "transcripts"):
        (directory / name).unlink()
    client.wait("state", lambda state: not codes(state))
    client.record("start")
    assert client.record("stop")["recorded"]
    last = client.wait("transcript/final", lambda final: not final["late"])["id"]
    appliance.kept_nothing()
    ids = [final["id"] for final in appliance.transcripts()]
    assert sorted(ids) == sorted(set(ids))
    assert {said, last} <= set(ids)


def test_what_the_disk_held_is_delivered_when_it_comes_back(appliance: Appliance) -> None:
    appliance.start()
    client = appliance.connect().subscribe("state")
    utterance = client.record("start")["utterance"]
    assert client.record("stop")["recorded"]
    client.wait("state", lambda state: state["spooled"] == 1)
    assert appliance.daemon
    appliance.daemon.end()
    disk = AbsentDisk(appliance.spool)
    appliance.serve("echo")
    appliance.start()
    client = appliance.connect().subscribe("state", "transcript/final")
    client.wait("state", lambda state: "spool" in codes(state))
    disk.comes_back()
    final = client.wait("transcript/final")
    assert (final["id"], final["late"]) == (utterance, True)
    client.wait("state", lambda state: not codes(state))
    assert [line["id"] for line in appliance.transcripts()] == [utterance]
