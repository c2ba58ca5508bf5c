"""A profile goes with its utterance: through a kill, a backend that fails and a retry, and to its own sinks."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from flowpi.appliance.daemon import Daemon
from flowpi.audio.utterance import PartId
from flowpi.config.loading import load
from flowpi.core.lights import of_profile
from flowpi.panel.button import ScriptedButton
from flowpi.panel.led import RecordingLed
from flowpi.spool.file_format import parse
from tests.backends.fake_backend import FakeBackend, hangs_up, works
from tests.publish.webhook.receiver import Receiver, receiver
from tests.rig.appliance import Appliance
from tests.waiting import until, wait_for

PROFILES = {
    "german": {
        "language": ["de"],
        "backends": ["first", "second"],
        "context": {"user_first_name": "Ada"},
        "text": {"replacements": {"Kanarie": ["echo"]}},
        "sinks": ["webhook.private"],
    },
    "plain": {},
}


DEBOUNCED_S = 0.05


def settings(*more: str) -> list[str]:
    return ["audio={source: wav, path: flowpi/data/demo.wav}", "spool.sync_ms=0", *more]


def backends(**urls: str) -> str:
    return f"backends={json.dumps({name: {'kind': 'flow', 'url': url} for name, url in urls.items()})}"


@pytest.fixture
async def everybody() -> AsyncIterator[Receiver]:
    async with receiver() as one:
        yield one


@pytest.fixture
async def private() -> AsyncIterator[Receiver]:
    async with receiver() as one:
        yield one


def texts(receiver: Receiver) -> list[Any]:
    return [body["data"]["text"] for body in receiver.accepted]


async def test_it_survives_a_kill_a_failover_and_a_retry(
    tmp_path: Path, everybody: Receiver, private: Receiver, unused_tcp_port: int
) -> None:
    webhooks = {"everybody": {"url": everybody.url}, "private": {"url": private.url}}
    async with FakeBackend([hangs_up]) as first, FakeBackend() as other:
        second = FakeBackend(port=unused_tcp_port)
        appliance = Appliance(
            tmp_path,
            *settings(
                "button.kind=none",
                backends(first=first.url, second=f"ws://127.0.0.1:{unused_tcp_port}/ws", local=other.url),
                f"profiles={json.dumps(PROFILES)}",
                f"publish.webhooks={json.dumps(webhooks)}",
            ),
            environment={"STATE_DIRECTORY": str(tmp_path / "state")},
        )
        with appliance:
            spoken = await asyncio.to_thread(speak_and_kill, appliance, sinks=2)
            await asyncio.to_thread(appliance.start)
            await until(lambda: len(first.calls) > 1)  # its first backend fails, and the second is not there
            assert not appliance.transcripts()
            async with second:
                retry = await asyncio.to_thread(appliance.run, "spool", "retry")
                assert retry.returncode == 0, retry.stderr
                await asyncio.to_thread(wait_for, appliance.transcripts)
                await asyncio.to_thread(appliance.kept_nothing)
                plain = await asyncio.to_thread(dictate, appliance)
                await until(lambda: len(texts(everybody)) == 1 and len(texts(private)) == 2)
                assert appliance.daemon is not None
                assert await asyncio.to_thread(appliance.daemon.end) == 0
        (call,) = (call for call in second.calls if call.pcm)  # the others are probes
        assert call.session is not None
        assert call.session.language == ["de"]
        assert "Ada" in call.session.phrases
        assert other.calls[-1].session is not None
        assert other.calls[-1].session.language == ["en"]
    late, live = appliance.transcripts()
    assert (late["id"], late["profile"], late["backend"], late["late"]) == (spoken, "german", "second", True)
    assert late["text"] == late["raw"].replace("echo", "Kanarie")
    assert (live["id"], live["backend"], "profile" in live, "raw" in live) == (plain, "local", False, False)
    assert texts(everybody) == [live["text"]]
    assert texts(private) == [late["text"], live["text"]]


def speak_and_kill(appliance: Appliance, sinks: int = 0) -> str:
    """Begin to dictate once so many sinks follow, and end the daemon in the middle of it. Return the id."""
    daemon = appliance.start()
    if sinks:
        follower = appliance.connect().subscribe("sinks")
        follower.wait("sinks", lambda all: [one["state"] for one in all] == ["open"] * sinks)
    code, out, error = appliance.flowpi("record", "start", "--profile", "german")
    assert (code, out) == (0, "recording\n"), error
    client = appliance.connect()
    state = client.command(command="status")["status"]["state"]
    assert (state["state"], state["profile"]) == ("recording", "german")
    wait_for(appliance.spooled)
    daemon.end(signal.SIGKILL)
    utterance: str = state["utterance"]
    return utterance


def dictate(appliance: Appliance) -> str:
    client = appliance.connect().subscribe("transcript/final")
    client.record("start")
    client.record("stop")
    utterance: str = client.wait("transcript/final")["id"]
    appliance.kept_nothing()
    return utterance


async def test_a_profile_that_is_gone_loses_nothing(tmp_path: Path) -> None:
    async with FakeBackend() as service:
        common = settings("button.kind=none", backends(local=service.url))
        environment = {"STATE_DIRECTORY": str(tmp_path / "state")}
        before = {"german": {**PROFILES["german"], "backends": ["away"], "sinks": []}}
        old = backends(local=service.url, away="ws://127.0.0.1:9/ws")
        with Appliance(tmp_path, *common, old, f"profiles={json.dumps(before)}", environment=environment) as appliance:
            spoken = await asyncio.to_thread(speak_and_kill, appliance)
        with Appliance(tmp_path, *common, environment=environment) as appliance:
            daemon = await asyncio.to_thread(appliance.start)
            await asyncio.to_thread(wait_for, appliance.transcripts)
            assert await asyncio.to_thread(daemon.end) == 0
        assert [call.session.language for call in service.calls if call.session] == [["en"]]
    (late,) = appliance.transcripts()
    assert (late["id"], late["profile"], "raw" in late) == (spoken, "german", False)
    assert "the profile 'german' is not configured any more" in daemon.log.read_text()


async def test_a_gesture_that_turns_out_to_be_another_sends_all_again(tmp_path: Path) -> None:
    """The press begins as `german`, whose session begins at once; the double tap makes a `code` of it."""
    profiles = {"german": {"language": ["de"]}, "code": {"language": ["en", "fr"]}}
    light: list[float] = []
    async with FakeBackend([works]) as service:
        config = load(
            None,
            [
                f"publish.socket={{path: {tmp_path}/flowpi.sock, group: null}}",
                f"publish.files.directory={tmp_path}/transcripts",
                f"spool.directory={tmp_path}/spool",
                *settings(
                    backends(local=service.url),
                    f"profiles={json.dumps(profiles)}",
                    "button={mode: hold, profiles: {hold: german, double: code}, long_s: 0}",
                ),
            ],
        )
        # However busy the machine is, the choice is still open at the second press.
        config = replace(config, button=replace(config.button, hold_ms=600_000, double_ms=600_000))
        button, loop = ScriptedButton(), asyncio.get_running_loop()
        daemon = Daemon(config, button=button, led=RecordingLed(light.append))
        running = asyncio.create_task(daemon.run())
        await daemon.settled.wait()
        button.press(loop.time())
        await until(lambda: service.calls and service.calls[0].pcm)
        await until(lambda: list((tmp_path / "spool").glob("*.utt")))  # no choice keeps the sound from the disk
        (file,) = (tmp_path / "spool").glob("*.utt")
        await until(lambda: profile_in(file) == "german")
        button.release(loop.time())
        button.press(loop.time() + DEBOUNCED_S)
        await until(lambda: len(service.calls) == 2)
        await until(lambda: profile_in(file) == "code")
        button.release(loop.time() + DEBOUNCED_S)
        await until(lambda: list((tmp_path / "transcripts").glob("*.jsonl")))
        daemon.stop()
        await running
        first, second = [call.session.language for call in service.calls if call.session]
    assert (first, second) == (["de"], ["en", "fr"])
    (line,) = (tmp_path / "transcripts").glob("*.jsonl")
    final = json.loads(line.read_text())
    assert final["profile"] == "code"
    assert final["duration_s"] == pytest.approx(len(service.calls[1].pcm) / 32_000, abs=0.1)
    gaps = [level for level, _ in of_profile(2).steps]
    assert any(light[at : at + len(gaps)] == gaps for at in range(len(light)))


def profile_in(file: Path) -> str | None:
    """Return the profile of a file that is still written, or "" if there is no sound in it yet."""
    utterance = parse(file.read_bytes(), PartId(file.stem))
    return utterance.about.profile if utterance is not None and utterance.length else ""
