"""A dictation of the whole daemon reaches a webhook, and neither its key nor a word of it gets anywhere else."""

import asyncio
import itertools
import json
from pathlib import Path

from tests.publish.webhook.receiver import SECRET, Receiver, answer, receiver
from tests.rig.appliance import Appliance
from tests.waiting import until, wait_for


async def test_a_dictation_reaches_a_webhook(tmp_path: Path) -> None:
    async with receiver(SECRET) as one:
        one.script = [answer(403)]
        said = await asyncio.to_thread(dictate, tmp_path, one)
        await until(lambda: one.accepted)
    texts = [body["data"]["text"] for body in one.accepted]
    assert texts == [said["text"]]
    assert "webhook.desk" in said["sinks"]
    assert "it answers 403: check that its secret is the one of publish.webhooks" in said["sinks"]
    assert "webhook.desk does not accept texts: " in said["doctor"]
    for what in ("sinks", "doctor", "log"):
        assert "canary" not in said[what], what
        assert said["text"] not in said[what], what


async def test_other_messages_of_a_dictation_reach_a_webhook(tmp_path: Path) -> None:
    async with receiver(SECRET) as one:
        await asyncio.to_thread(dictate_with_states, tmp_path, one)
    assert states(one)[-3:] == ["recording", "finishing", "idle"]
    assert {body["type"] for body in one.accepted} == {"state", "transcript.final"}
    assert all(map(one.is_genuine, one.requests))


def states(receiver: Receiver) -> list[str]:
    """The states that the receiver accepted, without those that only differ in something else."""
    names = [body["data"]["state"] for body in receiver.accepted if body["type"] == "state"]
    return [name for name, _ in itertools.groupby(names)]


def dictate_with_states(directory: Path, receiver: Receiver) -> None:
    """Dictate with one webhook that also receives the states, and wait until it has the last one."""
    hook = {"url": receiver.url, "secret": SECRET, "filters": ["state", "transcript/final"]}
    settings = ["audio.source=wav", "audio.path=flowpi/data/demo.wav", "button.kind=none"]
    settings.append(f"publish.webhooks.desk={json.dumps(hook)}")
    with Appliance(directory, *settings, environment={"STATE_DIRECTORY": str(directory / "state")}) as appliance:
        appliance.serve("echo")
        daemon = appliance.start()
        client = appliance.connect().subscribe("sinks")
        client.wait("sinks", lambda sinks: sinks[0]["state"] == "open")
        for action in ("start", "stop"):
            client.record(action)
        wait_for(lambda: any(body["type"] == "transcript.final" for body in receiver.accepted))
        wait_for(lambda: states(receiver)[-2:] == ["finishing", "idle"])
        assert daemon.end() == 0


def dictate(directory: Path, receiver: Receiver) -> dict[str, str]:
    """Dictate with one webhook, whose receiver refuses the first request. Return what can be seen of it."""
    hook = {"url": receiver.url, "secret": SECRET}
    settings = ["audio.source=wav", "audio.path=flowpi/data/demo.wav", "button.kind=none"]
    settings.append(f"publish.webhooks.desk={json.dumps(hook)}")
    state = {"STATE_DIRECTORY": str(directory / "state")}
    with Appliance(directory, *settings, environment=state) as appliance:
        appliance.serve("echo")
        daemon = appliance.start("-vv")
        client = appliance.connect().subscribe("transcript/final", "sinks")
        client.wait("sinks", lambda sinks: sinks[0]["state"] == "open")
        client.record("start")
        client.record("stop")
        said = {"text": client.wait("transcript/final")["text"]}
        client.wait("sinks", lambda sinks: sinks[0]["state"] == "failing")
        said["sinks"] = appliance.run("sinks").stdout
        said["doctor"] = appliance.run("doctor", "-vv").stdout
        appliance.run("sinks", "retry", "webhook.desk")
        wait_for(lambda: receiver.accepted)
        client.wait("sinks", lambda sinks: (sinks[0]["state"], sinks[0]["waiting"]) == ("open", 0))
        assert daemon.end() == 0
        said["log"] = daemon.log.read_text()
    return said
