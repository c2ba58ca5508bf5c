"""The whole daemon edits a text once; and a kill in the middle of that costs nothing."""

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

from tests.editing.scripted_model import KEY, Behaviour, ScriptedModel, answer, mute, scripted_model
from tests.rig.appliance import Appliance
from tests.waiting import until, wait_for


def settings(model: ScriptedModel) -> list[str]:
    rewrite = {"url": model.url, "model": "tiny", "api_key": KEY, "timeout_s": 30}
    return [
        "audio.source=wav",
        "audio.path=flowpi/data/demo.wav",
        "button.kind=none",
        'text.replacements={Canary: ["echo"]}',
        "text.ending=space",
        f"text.rewrite={json.dumps(rewrite)}",
    ]


def shouting(model: ScriptedModel) -> Behaviour:
    """Return the behaviour of a model that writes each text in capitals."""

    async def shout(writer: asyncio.StreamWriter) -> None:
        writer.write(answer(model.speech()[-1].upper()))
        await writer.drain()

    return shout


async def test_a_kill_while_a_text_is_rewritten_costs_nothing(tmp_path: Path) -> None:
    async with scripted_model() as model:
        model.behaviour = mute
        appliance = Appliance(tmp_path, *settings(model), environment={"STATE_DIRECTORY": str(tmp_path / "state")})
        with appliance:
            await asyncio.to_thread(begin, appliance)
            await until(lambda: model.requests)
            assert appliance.spooled()
            assert appliance.transcripts() == []
            assert appliance.daemon is not None
            await asyncio.to_thread(appliance.daemon.end, signal.SIGKILL)
            model.behaviour = shouting(model)
            final, live = await asyncio.to_thread(go_on, appliance)
            shown = (await asyncio.to_thread(appliance.run, "last", "--json")).stdout
            assert await asyncio.to_thread(appliance.daemon.end) == 0
        log = appliance.daemon.log.read_text()
    assert appliance.transcripts() == [final, live]
    assert json.loads(shown) == [live]
    assert (final["late"], live["late"]) == (True, False)
    for one in (final, live):
        assert one["rewritten"]
        assert one["raw"].startswith("echo ")
        assert one["text"] == one["raw"].replace("echo", "Canary").upper() + " "
        assert one["raw"] not in log
    assert model.speech() == [one["raw"].replace("echo", "Canary") for one in (final, final, live)]
    assert "canary" not in log.lower()


def begin(appliance: Appliance) -> None:
    appliance.serve("echo")
    appliance.start("-vv")
    client = appliance.connect()
    client.record("start")
    client.record("stop")


def go_on(appliance: Appliance) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what comes of the dictation of before, and of another one."""
    appliance.start("-vv")
    wait_for(appliance.transcripts)
    appliance.kept_nothing()
    client = appliance.connect()
    (final,) = client.command(command="transcripts")["transcripts"]
    client.subscribe("transcript/final")
    client.record("start")
    client.record("stop")
    live = client.wait("transcript/final")
    appliance.kept_nothing()
    return final, live
