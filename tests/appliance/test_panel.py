"""Button, LED and tones of the daemon as a process: whatever is wrong with them, a dictation goes its way."""

import asyncio
import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flowpi.appliance.daemon import Daemon
from flowpi.audio.cues import Cue
from flowpi.audio.tones import tone
from flowpi.backends import transport
from flowpi.config.loading import load
from flowpi.core.indicator import light
from flowpi.core.lights import CONFIGURATION, DARK, DELIVERED, READY, SHUTTING_DOWN, STARTING, Color
from flowpi.host import boot_config_status
from flowpi.panel.button import Line, ScriptedButton
from flowpi.panel.led import RecordingLed
from tests.audio.listening import wait_until
from tests.rig.appliance import Appliance, Process
from tests.rig.microphone import Microphone
from tests.waiting import PATIENCE_S, until, wait_for

Make = Callable[..., tuple[Appliance, Process]]


@pytest.fixture
def make(tmp_path: Path, microphone: Microphone) -> Iterator[Make]:
    """A daemon that runs, with its recogniser."""
    made: list[Appliance] = []

    def make(*settings: str) -> tuple[Appliance, Process]:
        made.append(Appliance(tmp_path, "audio.device=clock", *settings))
        made[-1].serve("echo")
        return made[-1], made[-1].start()

    yield make
    for appliance in made:
        appliance.__exit__(None, None, None)


def dictate(appliance: Appliance, seconds: float = 0.5) -> dict[str, Any]:
    """The final, once the appliance is idle again."""
    client = appliance.connect().subscribe("transcript/final", "state")
    assert client.record("start")["ok"]
    wait_until(time.monotonic() + seconds)
    assert client.record("stop")["recorded"]
    final: dict[str, Any] = client.wait("transcript/final")
    client.wait("state", lambda state: state["state"] == "idle")
    client.close()
    return final


def test_the_led_tells_the_end_of_a_dictation_and_of_the_daemon(make: Make) -> None:
    appliance, daemon = make()
    dictate(appliance)
    rest = [brightness for brightness, _ in DELIVERED.steps] + [0.0]

    def levels() -> list[float]:
        return [brightness for _, brightness in appliance.lights()]

    wait_for(lambda: levels()[-len(rest) :] == rest)
    shown = len(levels())
    assert daemon.end() == 0
    stopping = levels()[shown:]
    twice = [brightness for brightness, _ in SHUTTING_DOWN.steps] * 2
    assert stopping[: len(twice)] == twice
    assert stopping[-1] == 0.0


def test_the_tones_are_played_and_not_recorded(make: Make, microphone: Microphone, tmp_path: Path) -> None:
    played = tmp_path / "played.raw"
    with microphone.config_path.open("a") as file:
        file.write(f'\npcm.cues {{ type plug slave.pcm {{ type file file "{played}" format raw slave.pcm null }} }}\n')
    appliance, _ = make("cues={kind: alsa, device: cues, volume: 1.0}", "spool.keep_audio=true")

    def hear(cue: Cue) -> None:
        wait_for(lambda: played.exists() and played.read_bytes().startswith(tone(cue)))  # each tone writes it anew

    client = appliance.connect().subscribe("transcript/final")
    assert client.record("start")["ok"]
    hear(Cue.START)
    wait_until(time.monotonic() + 1.5)
    assert client.record("stop")["recorded"]
    final = client.wait("transcript/final")
    hear(Cue.STOP)
    pcm = appliance.kept()
    assert len(pcm) / 32_000 == pytest.approx(final["duration_s"], abs=0.001)
    silent = pcm.count(bytes(2 * 160)) * 160 / 16_000  # in pieces of 10 ms
    assert 0.1 < silent < final["duration_s"] - 0.3  # as long as it is unknown when the tones began: not all of it


def test_a_cue_device_that_is_missing_costs_a_warning_and_no_dictation(make: Make) -> None:
    appliance, daemon = make("cues={kind: alsa, device: nonesuch}")
    for _ in range(2):
        assert dictate(appliance)["duration_s"] > 0.5
    assert daemon.log.read_text().count("no tones from 'nonesuch'") == 1


def test_a_pedal_that_is_missing_is_a_fault_and_costs_no_dictation(make: Make) -> None:
    appliance, _ = make("button={kind: evdev, device: /dev/input/by-id/nonesuch, key: KEY_F13}")
    client = appliance.connect().subscribe("state")
    state = client.wait("state", lambda state: state["faults"])
    (fault,) = state["faults"]
    assert fault["code"] == "button"
    assert fault["message"].startswith(
        "the button /dev/input/by-id/nonesuch cannot be used (No such file or directory)"
    )
    assert dictate(appliance)["duration_s"] > 0.5


def settings(tmp_path: Path, *more: str) -> list[str]:
    """Of a daemon in this process."""
    return [
        f"publish.socket={{path: {tmp_path}/flowpi.sock, group: null}}",
        f"publish.files.directory={tmp_path}/transcripts",
        f"spool.directory={tmp_path}/spool",
        "audio={source: wav, path: flowpi/data/demo.wav}",
        *more,
    ]


async def test_a_configuration_that_was_refused_at_boot_is_a_fault_until_it_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = "flowpi.yaml, line 2: led.pinn is not a known key"
    monkeypatch.setattr(boot_config_status, "read", lambda: wrong)
    config = load(None, settings(tmp_path))
    led = RecordingLed(lambda level: None)
    daemon = Daemon(config, reload=lambda: config, button=ScriptedButton(), led=led)
    running = asyncio.create_task(daemon.run())
    await daemon.ready.wait()
    assert ("configuration", wrong) in [(fault.code, fault.message) for fault in daemon.state.faults]
    assert light(daemon.state) is CONFIGURATION
    monkeypatch.setattr(boot_config_status, "read", lambda: None)
    daemon.reload()
    await until(lambda: not daemon.state.has_fault("configuration"))
    daemon.stop()
    await running


class OneAtATime:
    """A button and an LED that cannot be opened twice, as pins cannot."""

    def __init__(self) -> None:
        self.opened = 0
        self.is_open = False
        self.was_opened = threading.Event()

    def open(self, on_edge: Any = None) -> None:
        assert not self.is_open
        self.is_open = True
        self.was_opened.set()
        self.opened += 1

    def close(self) -> None:
        self.is_open = False

    def is_pressed(self, line: Line = None) -> bool | None:
        return None

    def set(self, color: Color) -> None:
        pass


async def test_a_reload_that_comes_too_soon_waits_until_the_panel_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    button, led = OneAtATime(), OneAtATime()
    other = load(None, settings(tmp_path, "led.brightness=0.5"))
    monkeypatch.setattr(transport, "preload", lambda: led.was_opened.wait(PATIENCE_S))
    daemon = Daemon(load(None, settings(tmp_path)), reload=lambda: other, button=button, led=led)
    daemon.reload()
    running = asyncio.create_task(daemon.run())
    await until(lambda: led.opened == 2)
    await until(lambda: button.is_open)
    assert daemon.state.faults == ()
    daemon.stop()
    await running
    assert not led.is_open


async def test_from_ready_on_garbage_is_collected(tmp_path: Path) -> None:
    daemon = Daemon(load(None, settings(tmp_path)))
    gc.disable()  # as the command line does
    running = asyncio.create_task(daemon.run())
    try:
        await daemon.ready.wait()
        assert gc.isenabled()
    finally:
        gc.enable()
    daemon.stop()
    await running


async def test_it_says_that_it_starts_until_the_button_is_there(tmp_path: Path) -> None:
    shown: list[float] = []

    class Button(ScriptedButton):
        def open(self, on_edge: Any) -> None:
            assert shown == [DARK.brightness, STARTING.steps[0][0]]
            super().open(on_edge)

    daemon = Daemon(load(None, settings(tmp_path)), button=Button(), led=RecordingLed(shown.append))
    running = asyncio.create_task(daemon.run())
    await daemon.settled.wait()
    assert light(daemon.state) is READY
    assert shown[2:] == [STARTING.steps[0][0]], "again, for as long as it takes to see it"
    daemon.stop()
    await running


async def test_muted_the_microphone_stays_closed_through_a_reload(
    microphone: Microphone, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The daemon in this process: its button is pressed by hand."""
    caplog.set_level(logging.INFO)
    muting = settings(
        tmp_path,
        f"backends={{local: {{kind: flow, url: 'ws+unix://{tmp_path}/asr.sock'}}}}",
        "audio={device: clock, idle_read_ms: 50}",
        "button={kind: none, mode: toggle, hold_ms: 100, long_s: 0.3}",
    )
    other = load(None, [*muting, "audio.preroll_ms=100"])
    button = ScriptedButton()
    daemon = Daemon(load(None, muting), reload=lambda: other, button=button, led=RecordingLed(lambda level: None))
    running = asyncio.create_task(daemon.run())
    await daemon.settled.wait()

    async def hold(muted: bool) -> None:
        now = time.monotonic()
        button.press(now - 0.5)
        button.release(now)
        await until(lambda: daemon.state.has_fault("muted") is muted)

    async def unplugged(*, noticed: bool) -> None:
        """The daemon notices that its microphone is gone, or does not, because it is closed."""
        microphone.unplug()
        if noticed:
            await until(lambda: daemon.state.has_fault("microphone"))
        else:
            await asyncio.sleep(1.0)
        assert daemon.state.has_fault("microphone") is noticed
        microphone.plug_in()
        await until(lambda: not daemon.state.has_fault("microphone"))

    await unplugged(noticed=True)
    await hold(muted=True)
    await unplugged(noticed=False)
    daemon.reload()
    await until(lambda: "configuration reloaded" in caplog.text)
    await unplugged(noticed=False)
    await until(lambda: daemon.state.name == "idle")
    await hold(muted=False)
    await unplugged(noticed=True)
    daemon.stop()
    await running
