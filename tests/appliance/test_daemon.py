"""The daemon as a process, from a microphone in the real ALSA library to the text on the socket and in the file."""

import array
import datetime
import hashlib
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from flowpi.audio.utterance import About, Utterance
from flowpi.dsp.format import RATE_HZ
from flowpi.dsp.level import rms
from flowpi.server.model_files import final_model
from flowpi.spool.spool import Spool
from tests.audio.listening import missing, samples, wait_until
from tests.rig.appliance import Appliance, stopped
from tests.rig.microphone import Microphone
from tests.sound import noise
from tests.speech import WORD_ERRORS_MAX, Recording, librivox, two_cities, word_error_rate
from tests.waiting import wait_for

DEMO_WAV = Path(__file__).parents[2] / "flowpi" / "data" / "demo.wav"
DEMO_TEXT = (
    "And Mr. John Dashwood had then leisure to consider how much there might be prudently in his power to do for them."
)

Make = Callable[..., Appliance]


@pytest.fixture
def make(tmp_path: Path, microphone: Microphone) -> Iterator[Make]:
    made: list[Appliance] = []

    def make(*settings: str, **options: Any) -> Appliance:
        made.append(Appliance(tmp_path, *settings, **options))
        return made[-1]

    yield make
    for appliance in made:
        appliance.__exit__(None, None, None)


class Dictated(NamedTuple):
    """A dictation, of which it lies between two moments when the daemon saw press and release."""

    final: dict[str, Any]
    released_at: float
    """When the release was asked for."""
    shortest_s: float
    """From the answer to the press to the request of the release."""
    longest_s: float
    """From the request of the press to the answer to the release."""


def dictate(appliance: Appliance, seconds: float) -> Dictated:
    """Press, let so much time pass, and release."""
    client = appliance.connect().subscribe("transcript/final")
    wait_until(time.monotonic() + 0.6)  # a pre-roll needs a past
    asked_at = time.monotonic()
    assert client.record("start")["ok"]
    pressed_at = time.monotonic()
    wait_until(pressed_at + seconds)
    released_at = time.monotonic()
    assert client.record("stop")["ok"]
    answered_at = time.monotonic()
    return Dictated(client.wait("transcript/final"), released_at, released_at - pressed_at, answered_at - asked_at)


@pytest.mark.parametrize("encoding", ["msgpack", "json"])
@pytest.mark.parametrize("transport", ["unix", "tcp"])
def test_every_sample_from_the_pre_roll_to_the_post_roll_arrives(make: Make, encoding: str, transport: str) -> None:
    appliance = make("audio.device=clock", "spool.keep_audio=true", backend=f"encoding: {encoding}")
    if transport == "tcp":
        server = appliance.serve("echo", "127.0.0.1:0")
        port = re.search(r"ws://127\.0\.0\.1:(\d+)", server.log.read_text())
        assert port
        appliance.url = f"ws://127.0.0.1:{port[1]}/api/v1/dash/client_ws"
    else:
        appliance.serve("echo")
    appliance.start()
    said = dictate(appliance, 2.0)
    final = said.final
    started_at = datetime.datetime.fromisoformat(final["started_at"]).timestamp()
    pressed_at = started_at - time.time() + time.monotonic()  # as the daemon saw it; to the millisecond
    pcm = appliance.kept()
    assert missing(pcm) == []
    heard = samples(pcm)
    first_at = time_of(heard[0], pressed_at)
    assert first_at <= pressed_at - 0.3 + 0.001
    assert first_at + len(heard) / RATE_HZ >= said.released_at + 0.2
    padded = pcm + bytes(-len(pcm) % 3200)
    assert f"sha256 {hashlib.sha256(padded).hexdigest()}" in final["text"]
    assert final["duration_s"] == pytest.approx(len(heard) / RATE_HZ, abs=0.001)


def test_long_speech_goes_on_in_parts_without_a_gap(make: Make) -> None:
    appliance = make("audio.device=clock", "spool.keep_audio=true", "dictation.max_utterance_s=5")
    appliance.serve("echo")
    appliance.start()
    client = appliance.connect().subscribe("transcript/final")
    utterance = client.record("start")["utterance"]
    first = client.wait("transcript/final")  # while the second part is spoken
    second = client.wait("transcript/final")
    assert client.record("stop")["recorded"]
    third = client.wait("transcript/final")
    assert [(final["id"], final["part"]) for final in (first, second, third)] == [(utterance, n) for n in (1, 2, 3)]
    assert all(final["duration_s"] <= 5.3 for final in (first, second, third))  # 0.3 s of it are the pre-roll
    appliance.kept_nothing()
    whole = b""
    for name in (utterance, f"{utterance}.2", f"{utterance}.3"):
        with wave.open(str(appliance.spool / "kept" / f"{name}.wav")) as file:
            whole += file.readframes(file.getnframes())
    assert missing(whole) == []
    assert [line["part"] for line in appliance.transcripts()] == [1, 2, 3]


def time_of(sample: int, near: float) -> float:
    """When the clock microphone captured a sample, in monotonic seconds, `near` which it must be."""
    turn = round((near * RATE_HZ - sample) / 65_536)
    return (turn * 65_536 + sample) / RATE_HZ


def test_speech_becomes_text_on_the_socket_and_in_the_file(make: Make, microphone: Microphone) -> None:
    appliance = make("audio.device=live")
    appliance.serve("moonshine")
    appliance.start()
    client = appliance.connect().subscribe("state", "transcript/#")
    assert appliance.run("record", "start").stdout == "recording\n"
    microphone.speak(DEMO_WAV)
    partial = client.wait("transcript/partial")
    wait_until(time.monotonic() + microphone.unheard() / 2 / RATE_HZ + 0.5)
    assert appliance.run("record", "stop").returncode == 0
    final = client.wait("transcript/final")
    assert word_error_rate(DEMO_TEXT, final["text"]) <= 0.05
    assert partial["id"] == final["id"]
    assert not final["late"]
    client.wait("state", lambda state: state["state"] == "idle")
    assert appliance.transcripts() == [final]
    assert appliance.daemon
    assert appliance.daemon.end() == 0
    assert appliance.spooled() == []
    shown = [brightness for _, brightness in appliance.lights()]
    # Lit for the start and while recording, blinking while the text is awaited, dark at last.
    assert shown[:2] == [0.0, 1.0]
    assert set(shown[3:-1]) == {0.0, 1.0}
    assert shown[-1] == 0.0


def test_a_microphone_of_48_khz_stereo_is_heard_whole_and_as_loud(make: Make, microphone: Microphone) -> None:
    appliance = make("audio.device=usb48", "spool.keep_audio=true")
    appliance.serve("echo")
    appliance.start()
    tone = array.array("h", (10_000 if n // 48 % 2 else -10_000 for n in range(48_000 * 4)))
    microphone.speak(array.array("h", (sample for sample in tone for _ in range(2))).tobytes(), "usb48")
    said = dictate(appliance, 2.0)
    assert said.shortest_s + 0.5 <= said.final["duration_s"] <= said.longest_s + 0.6
    middle = appliance.kept()[RATE_HZ : 3 * RATE_HZ]
    assert rms(middle) == pytest.approx(10_000 / 32_768, rel=0.1)


def test_a_loop_that_stands_still_for_half_a_second_loses_no_audio(make: Make) -> None:
    appliance = make("audio.device=clock", "spool.keep_audio=true")
    appliance.serve("echo")
    daemon = appliance.start()
    client = appliance.connect().subscribe("transcript/final")
    wait_until(time.monotonic() + 1.0)  # a pre-roll needs a past
    with stopped(daemon):
        client.send({"command": "record", "action": "start"})
        wait_until(time.monotonic() + 0.5)
    assert client.read()["ok"]
    pressed_at = time.monotonic()
    wait_until(pressed_at + 0.5)
    with stopped(daemon):
        wait_until(time.monotonic() + 0.5)
    released_at = time.monotonic()
    client.send({"command": "record", "action": "stop"})
    client.wait("transcript/final")
    pcm = appliance.kept()
    assert missing(pcm) == []
    assert len(pcm) / 2 / RATE_HZ >= released_at - pressed_at + 0.49  # with the pre-roll and the post-roll


def test_killed_while_the_text_is_awaited_nothing_is_lost(make: Make) -> None:
    appliance = make("audio.device=clock", "spool.keep_audio=true")
    server = appliance.serve("echo")
    daemon = appliance.start()
    client = appliance.connect()
    client.record("start")
    wait_until(time.monotonic() + 1.5)
    with stopped(server):
        assert client.record("stop")["state"] == "finishing"
        assert daemon.end(signal.SIGKILL) == -signal.SIGKILL
    assert len(appliance.spooled()) == 1
    assert appliance.transcripts() == []
    appliance.start()  # on the socket file that the dead one left behind
    final = appliance.connect().subscribe("transcript/final", "state")
    final.wait("state", lambda state: state["spooled"] == 0 and state["backend"] == "local")
    (line,) = appliance.transcripts()
    assert line["late"]
    pcm = appliance.kept()
    assert missing(pcm) == []
    assert hashlib.sha256(pcm + bytes(-len(pcm) % 3200)).hexdigest() in line["text"]
    assert appliance.spooled() == []


def test_stopped_in_the_middle_of_a_word_the_audio_is_kept(make: Make) -> None:
    appliance = make("audio.device=clock")
    daemon = appliance.start()
    appliance.connect().record("start")
    wait_until(time.monotonic() + 0.5)
    assert daemon.end() == 0
    assert "STOPPING=1" in daemon.notices
    (kept,) = appliance.spooled()
    appliance.serve("echo")
    appliance.start()
    appliance.kept_nothing()
    assert [line["id"] for line in appliance.transcripts()] == [kept]


def test_without_a_server_what_is_said_is_kept_and_comes_later_in_order(make: Make) -> None:
    appliance = make("audio.device=clock")
    appliance.start()
    client = appliance.connect().subscribe("transcript/#", "state")
    for _ in range(2):
        assert client.record("start")["state"] == "recording"
        client.record("stop")
    client.wait("state", lambda state: state["spooled"] == 2 and state["state"] == "idle")
    asked = appliance.run("status")
    assert "is not reached" in asked.stdout
    assert "kept for later  2" in asked.stdout
    appliance.serve("echo")
    finals = [client.wait("transcript/final") for _ in range(2)]
    assert all(final["late"] for final in finals)
    assert [final["id"] for final in finals] == sorted(final["id"] for final in finals)
    client.wait("state", lambda state: state["spooled"] == 0 and not state["faults"])


def test_no_microphone_is_a_fault_and_not_the_end(make: Make, microphone: Microphone) -> None:
    microphone.unplug()
    appliance = make("audio.device=live")
    appliance.start()
    refused = appliance.run("record", "start")
    assert refused.returncode == 66
    assert refused.stderr.startswith("flowpi: no sound from 'live'")
    client = appliance.connect().subscribe("state")
    client.wait("state", lambda state: [fault["code"] for fault in state["faults"]] == ["microphone"])
    microphone.plug_in()
    client.wait("state", lambda state: not state["faults"])
    assert client.record("start")["ok"]


def test_a_folder_for_the_socket_that_cannot_be_is_the_configurations_mistake(make: Make) -> None:
    """Which is shown, and not tried again every two seconds."""
    appliance = make("publish.socket.path=/proc/nosuch/flowpi.sock")
    done = appliance.run("run")
    assert done.returncode == 78
    assert "publish.socket.path" in done.stderr


def test_a_second_daemon_is_told_who_is_first(make: Make, tmp_path: Path) -> None:
    appliance = make("audio.device=clock")
    appliance.start()
    same = appliance.run("run")
    assert same.returncode == 73
    assert same.stderr == (
        f"flowpi: another flowpi has the spool '{appliance.spool}': stop it, or set spool.directory\n"
    )
    socket_only = appliance.run("run", "--set", f"spool.directory={tmp_path / 'other'}")
    assert socket_only.returncode == 73
    appliance.settings.append(f"spool.directory={tmp_path / 'other'}")
    socket_only = appliance.run("run")
    assert "another flowpi listens on" in socket_only.stderr
    assert "Traceback" not in same.stderr + socket_only.stderr
    assert appliance.connect().record("start")["ok"]


def test_rubbish_on_the_socket_hurts_only_its_sender(make: Make) -> None:
    appliance = make("audio.device=clock", "spool.keep_audio=true")
    appliance.serve("echo")
    appliance.start()
    rude = [appliance.connect() for _ in range(3)]
    client = appliance.connect().subscribe("transcript/final")
    client.record("start")
    rude[0].send(b"{not json}\n[1, 2]\n\xff\xfe\n" + b"[" * 5000 + b"\n")
    assert [rude[0].read()["error"]["code"] for _ in range(4)] == ["bad_request"] * 4
    rude[1].send(b"x" * 1_000_000)
    assert rude[1].read()["error"] == {"code": "line_too_long", "message": "a line is at most 65536 bytes"}
    rude[2].send({"command": "dance"})
    assert rude[2].read()["error"]["code"] == "unknown_command"
    client.record("stop")
    client.wait("transcript/final")
    assert missing(appliance.kept()) == []


def test_a_reload_takes_a_good_configuration_and_refuses_a_bad_one(make: Make, tmp_path: Path) -> None:
    file = tmp_path / "flowpi.yaml"
    file.write_text("audio: {device: clock, postroll_ms: 100}\n")
    appliance = make("device_id=desk")
    appliance.serve("echo")
    daemon = appliance.start("--config", str(file))
    for text, logged in [
        ("audio: {device: clock, postrol_ms: 0}\n", "the configuration is not reloaded, the old one stays"),
        ("audio: {device: clock, postroll_ms: 900}\n", "configuration reloaded"),
    ]:
        file.write_text(text)
        daemon.notices.clear()
        daemon.send(signal.SIGHUP)
        daemon.notice("RELOADING=1")
        daemon.notice("READY=1")
        assert logged in daemon.log.read_text()
    said = dictate(appliance, 0.5)
    assert said.final["duration_s"] >= said.shortest_s + 0.9


def test_a_reload_waits_for_the_end_of_what_is_said(make: Make, tmp_path: Path) -> None:
    file = tmp_path / "flowpi.yaml"
    file.write_text("audio: {device: clock}\n")
    appliance = make()
    appliance.serve("echo")
    daemon = appliance.start("--config", str(file))
    client = appliance.connect().subscribe("transcript/final", "state")
    assert client.record("start")["ok"]
    pressed_at = time.monotonic()
    file.write_text("audio: {device: absent}\n")
    daemon.notices.clear()
    daemon.send(signal.SIGHUP)
    daemon.notice("RELOADING=1")
    wait_until(time.monotonic() + 1.0)
    released_at = time.monotonic()
    assert client.record("stop")["recorded"]
    assert client.wait("transcript/final")["duration_s"] >= released_at - pressed_at
    daemon.notice("READY=1")
    client.wait("state", lambda state: [fault["code"] for fault in state["faults"]] == ["microphone"])


def test_a_reload_mends_a_wrong_device(make: Make, tmp_path: Path) -> None:
    file = tmp_path / "flowpi.yaml"
    file.write_text("audio: {device: absent}\n")
    appliance = make()
    daemon = appliance.start("--config", str(file))
    client = appliance.connect().subscribe("state")
    client.wait("state", lambda state: [fault["code"] for fault in state["faults"]] == ["microphone"])
    file.write_text("audio: {device: clock}\n")
    daemon.send(signal.SIGHUP)
    client.wait("state", lambda state: not state["faults"])
    assert client.record("start")["ok"]


def test_a_reload_gives_a_full_spool_more_room(make: Make, tmp_path: Path) -> None:
    file = tmp_path / "flowpi.yaml"
    file.write_text("audio: {device: clock}\nspool: {max_mb: 1}\n")
    appliance = make()
    appliance.spool.mkdir(parents=True)
    (appliance.spool / "stranger").write_bytes(bytes(2_000_000))
    daemon = appliance.start("--config", str(file))
    client = appliance.connect().subscribe("state")
    client.record("start")
    assert not client.record("stop")["recorded"]
    client.wait("state", lambda state: "spool" in [fault["code"] for fault in state["faults"]])
    file.write_text("audio: {device: clock}\nspool: {max_mb: 100}\n")
    daemon.send(signal.SIGHUP)
    client.wait("state", lambda state: "spool" not in [fault["code"] for fault in state["faults"]])
    assert len(list(appliance.spool.glob("*.utt"))) == 1
    assert "counts from the next start" not in daemon.log.read_text()


def test_systemd_hears_how_it_goes(make: Make) -> None:
    appliance = make("audio.device=clock", environment={"WATCHDOG_USEC": "400000"})
    daemon = appliance.start()
    daemon.notice("STATUS=ready")
    daemon.notices.clear()
    daemon.notice("WATCHDOG=1")
    appliance.connect().record("start")
    daemon.notice("STATUS=recording")


def beginnings() -> list[Recording]:
    """The first sentences of two books, 74 words of 25 s."""
    story = two_cities()
    return [Recording(story.name, story.part(0.7, 10.8), " ".join(story.text.split()[:30])), *librivox()[:3]]


@pytest.mark.lengthy
@pytest.mark.parametrize(
    "corpus",
    [
        beginnings,
        pytest.param(lambda: [two_cities()], id="two_cities", marks=pytest.mark.long),
        pytest.param(librivox, id="librivox", marks=pytest.mark.long),
    ],
)
def test_human_speech_is_understood(make: Make, microphone: Microphone, corpus: Callable[[], list[Recording]]) -> None:
    """Hold the whole path, daemon to file, to the word error rate of the model."""
    appliance = make("audio.device=live")
    appliance.serve("moonshine")
    appliance.start()
    client = appliance.connect().subscribe("state", "transcript/final")
    recordings = corpus()
    for recording in recordings:
        client.record("start")
        microphone.speak(recording.pcm)
        wait_until(time.monotonic() + len(recording.pcm) / 2 / RATE_HZ + 0.5)  # a busy machine begins to speak late
        client.record("stop")
        client.wait("transcript/final")
        client.wait("state", lambda state: state["state"] == "idle")
    texts = [line["text"] for line in appliance.transcripts()]
    assert len(texts) == len(recordings)
    assert (
        word_error_rate(" ".join(recording.text for recording in recordings), " ".join(texts))
        <= WORD_ERRORS_MAX["tiny"]
    )


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["transcribe", "absent.wav"], 66, "absent.wav"),
        (["transcribe", __file__], 65, "WAV"),
        (["record", "start"], 69, "no daemon answers"),
        (["status"], 69, "no daemon answers"),
        (["listen"], 69, "no daemon answers"),
        (["transcribe", str(DEMO_WAV)], 69, "is not reached"),
        (["run", "--set", "publish.keyboard.kind=gadget"], 78, "must be hid, none or uinput"),
        (["run", "--set", "audio.devise=x"], 78, "audio.device"),
        (["demo", "absent.wav"], 66, "absent.wav"),
        (["demo", "--mic"], 64, "terminal"),
    ],
    ids=lambda value: " ".join(value)[-40:] if isinstance(value, list) else None,
)
def test_what_cannot_be_done_is_said_in_a_line(make: Make, arguments: list[str], code: int, message: str) -> None:
    done = make("audio.device=clock").run(*arguments)
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("flowpi: ")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_transcribe_prints_the_text(make: Make) -> None:
    appliance = make()
    appliance.serve("moonshine")
    done = appliance.run("transcribe", str(DEMO_WAV))
    assert done.returncode == 0, done.stderr
    assert word_error_rate(DEMO_TEXT, done.stdout) <= 0.05


def test_the_demonstration_ends_with_the_right_text(make: Make) -> None:
    done = make().run("demo")
    assert done.returncode == 0, done.stderr
    text = re.search(r"^text +(.*)$", done.stdout, re.MULTILINE)
    assert text
    assert word_error_rate(DEMO_TEXT, text[1]) <= 0.1
    assert f"\nmodel   {final_model().name}\n" in done.stdout
    if "came late" in done.stdout:  # a machine so busy that the first attempt was given up
        return
    assert re.findall(r"^state +(.*)$", done.stdout, re.MULTILINE) == ["recording", "finishing", "idle"]
    for figure in ("press to first packet", "release to commit", "release to final", "final to subscriber"):
        assert re.search(rf"^{figure}.* \d+\.\d ms$", done.stdout, re.MULTILINE)


def test_listen_prints_texts_a_line_each(make: Make) -> None:
    appliance = make("audio.device=clock")
    appliance.serve("echo")
    appliance.start()
    command = [sys.executable, "-m", "flowpi", "listen", "--text", *appliance.options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as listening:
        assert listening.stdout
        wait_for(lambda: appliance.clients() == 1)
        texts = [dictate(appliance, 0.3).final["text"] for _ in range(2)]
        assert [listening.stdout.readline() for _ in texts] == [f"{text}\n" for text in texts]
        listening.terminate()


def test_the_socket_is_for_the_group(make: Make) -> None:
    appliance = make("audio.device=clock")
    appliance.start()
    assert os.stat(appliance.socket).st_mode & 0o777 == 0o660
    assert json.loads(appliance.run("status", "--json").stdout)["stats"]["dictations"] == 0


async def test_what_got_out_before_a_crash_is_not_published_again(make: Make) -> None:
    appliance = make("audio.device=clock")
    appliance.serve("echo")
    daemon = appliance.start()
    final = dictate(appliance, 0.3).final
    appliance.kept_nothing()
    daemon.end(signal.SIGKILL)
    spool = Spool(appliance.spool)  # as if the crash had come before the audio was deleted
    spool.open()
    await spool.keep(Utterance(About(final["id"], 0.0), pcm=noise(1.0), complete=True))
    spool.close()
    assert appliance.spooled() == [final["id"]]
    appliance.start()
    appliance.kept_nothing()
    assert appliance.transcripts() == [final]
    stats = appliance.connect().subscribe("stats").wait("stats")
    assert (stats["delivered"], stats["failed"]) == (0, 0)


def test_a_thousand_clients_do_not_use_up_the_files(make: Make) -> None:
    appliance = make("audio.device=clock")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))  # as a shell has it
    try:
        appliance.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    clients = []
    for _ in range(1023):
        clients.append(socket.socket(socket.AF_UNIX))
        clients[-1].connect(str(appliance.socket))
    client = appliance.connect()
    utterance = client.record("start")["utterance"]
    assert client.record("stop")["recorded"]
    assert appliance.spooled() == [utterance]
    for one in clients:
        one.close()


def test_it_says_once_that_no_recogniser_answers_yet(make: Make) -> None:
    appliance = make("audio.device=clock")
    daemon = appliance.start()
    said = "backend 'local' does not answer yet: start `flowpi serve`"
    wait_for(lambda: said in daemon.log.read_text())
    appliance.connect().record("start")
    assert daemon.end() == 0
    log = daemon.log.read_text()
    assert log.count("does not answer yet") == 1
    assert log.index("ready: ") < log.index(said)


def test_it_says_nothing_of_a_recogniser_that_answers(make: Make) -> None:
    appliance = make("audio.device=clock")
    appliance.serve("echo")
    daemon = appliance.start()
    client = appliance.connect().subscribe("transcript/final")
    client.record("start")
    client.record("stop")
    client.wait("transcript/final")
    assert daemon.end() == 0
    assert "does not answer yet" not in daemon.log.read_text()
