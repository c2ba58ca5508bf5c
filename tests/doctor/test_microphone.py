"""The check of the microphone, through the real ALSA library or through the daemon that has it open."""

import audioop
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from flowpi.appliance.microphone import TOO_QUIET
from flowpi.audio.cards import Card
from flowpi.config.schema import AudioSettings, Config, PublishSettings, SocketSettings
from flowpi.doctor import microphone as doctor
from flowpi.doctor.findings import Finding
from flowpi.dsp.level import Level
from tests.audio.variants import reference
from tests.rig.appliance import Appliance
from tests.rig.disks import alone
from tests.rig.microphone import Microphone
from tests.waiting import wait_for

DEMO = Path("flowpi/data/demo.wav")


def config_of(place: Path, device: str = "live") -> Config:
    """`place`: of the daemon's socket, if there is one."""
    return Config(
        audio=AudioSettings(device=device),
        publish=PublishSettings(socket=SocketSettings(path=str(place / "flowpi.sock"))),
    )


def finding_of(place: Path, device: str = "live") -> Finding:
    (finding,) = doctor.examine(config_of(place, device))
    return finding


def test_one_that_works(microphone: Microphone, tmp_path: Path) -> None:
    microphone.speak(DEMO)
    assert finding_of(tmp_path) == Finding("microphone", "ok", "works", "works: 'live'")


def test_none_there(microphone: Microphone, tmp_path: Path) -> None:
    finding = finding_of(tmp_path, "no-such-device")
    assert (finding.level, finding.code) == ("failure", "absent")
    assert "there is: none at all" in finding.message
    assert finding.hint == "plug a microphone in"
    microphone.unplug()
    assert finding_of(tmp_path).code == "absent"


def test_another_program_has_it(microphone: Microphone, tmp_path: Path) -> None:
    microphone.take()
    finding = finding_of(tmp_path)
    assert (finding.level, finding.code) == ("failure", "busy")
    assert "fuser" in finding.hint


def test_digital_silence(microphone: Microphone, tmp_path: Path) -> None:
    microphone.mute(700)  # all the same, whatever it is
    assert finding_of(tmp_path).code == "silence"


def test_hardly_any_noise(microphone: Microphone, tmp_path: Path) -> None:
    finding = finding_of(tmp_path)  # its noise is one step of 65536
    assert (finding.level, finding.code) == ("warning", "quiet")
    assert finding.hint == "raise its gain by `flowpi doctor --calibrate`, or set audio.gain_db"


def test_sound_at_the_rail(microphone: Microphone, tmp_path: Path) -> None:
    microphone.speak(b"\xff\x7f\x00\x80" * 40_000)
    assert finding_of(tmp_path).code == "clipping"


def test_a_wrong_clock(microphone: Microphone, tmp_path: Path) -> None:
    microphone.speak(DEMO)
    microphone.slow_down()
    finding = finding_of(tmp_path)
    assert (finding.level, finding.code) == ("warning", "rate")
    assert "off by -10" in finding.message or "off by -9" in finding.message


def test_one_that_stands_still(microphone: Microphone, tmp_path: Path) -> None:
    microphone.freeze()
    assert finding_of(tmp_path).code == "no_sound"


def test_a_file_instead(tmp_path: Path) -> None:
    def finding_of(path: str) -> Finding:
        socket = SocketSettings(path=str(tmp_path / "flowpi.sock"))
        (found,) = doctor.examine(
            Config(audio=AudioSettings(source="wav", path=path), publish=PublishSettings(socket=socket))
        )
        return found

    assert finding_of(str(DEMO)).code == "works"
    missing = finding_of("/no/such.wav")
    assert (missing.level, missing.code) == ("failure", "broken")
    assert "No such file" in missing.message
    assert finding_of("flowpi/config/schema.py").hint.startswith("give a WAV, FLAC, Ogg, MP3")


@pytest.fixture
def appliance(tmp_path: Path, microphone: Microphone) -> Iterator[Appliance]:
    with Appliance(tmp_path, "audio.device=live") as appliance:
        appliance.start()
        yield appliance


def test_the_daemon_has_it(appliance: Appliance, microphone: Microphone, tmp_path: Path) -> None:
    microphone.speak(DEMO)
    assert finding_of(tmp_path) == Finding("microphone", "ok", "works", "works: the daemon hears with it")
    microphone.drain()
    assert finding_of(tmp_path).code == "quiet"
    client = appliance.connect().subscribe("state")
    microphone.unplug()
    client.wait("state", lambda state: state["faults"])
    finding = finding_of(tmp_path)
    assert (finding.code, finding.hint) == ("absent", "plug a microphone in")


def test_the_daemon_has_it_for_a_recording_only(microphone: Microphone, tmp_path: Path) -> None:
    config = config_of(tmp_path)
    without = replace(config, audio=replace(config.audio, preroll_ms=0))
    with Appliance(tmp_path, "audio.device=live", "audio.preroll_ms=0") as appliance:
        appliance.start()
        microphone.speak(DEMO)
        (finding,) = doctor.examine(without)
    assert finding == Finding("microphone", "ok", "works", "works: the daemon hears with it")


def test_who_has_it_counts() -> None:
    busy = ("no sound from 'default'", "Device or resource busy", "end it")
    finding = doctor.unusable(*busy, ["pipewire (process 812)"])
    assert (finding.code, finding.message) == ("busy", "no sound from 'default'; held by pipewire (process 812)")
    assert "systemctl --user mask --now pipewire.socket" in finding.hint
    pulse = doctor.unusable(*busy, ["pulseaudio (process 812)", "flowpi (process 5)"])
    assert "`systemctl --user mask --now pulseaudio.socket pulseaudio.service`" in pulse.hint
    assert doctor.unusable(*busy, ["arecord (process 6)"]).hint == "end it"
    assert doctor.unusable(*busy, ["flowpi (process 5)"]).code == "skipped"
    assert doctor.unusable(*busy, ["flowpi (process 5)", "arecord (process 6)"]).code == "busy"


def test_a_user_who_may_not_use_sound_is_no_fault(tmp_path: Path) -> None:
    found = alone("tests.doctor.disks", tmp_path)
    assert found["sound for nobody"] == {"part": "sound", "level": "ok", "code": "skipped", "message": "", "hint": ""}
    assert found["sound for all"]["code"] == "works"
    assert doctor.may_use_sound(tmp_path / "none")


@pytest.mark.parametrize(
    ("reason", "code"),
    [("Permission denied", "forbidden"), ("Input/output error", "broken"), ("it does not answer", "broken")],
)
def test_what_the_daemon_says(reason: str, code: str) -> None:
    finding = doctor.told({"microphone": f"no sound from 'default' ({reason}): do this"})
    assert finding == Finding("microphone", "failure", code, f"no sound from 'default' ({reason})", "do this")


def test_silence_and_mute_by_the_daemons_word() -> None:
    silent, muted = doctor.told({"silence": "x"}), doctor.told({"muted": "x"})
    assert silent is not None
    assert silent.code == "silence"
    assert muted == Finding("microphone", "ok", "works", "is muted by its owner")
    assert doctor.told({"backend": "x"}) is None


def test_what_was_too_quiet_by_the_daemons_word() -> None:
    message, _, hint = TOO_QUIET.partition(": ")
    assert "audio.gain_db" in hint
    assert doctor.told({"quiet": TOO_QUIET}) == Finding("microphone", "warning", "quiet", message, hint)
    both = doctor.told({"quiet": TOO_QUIET, "silence": "x"})
    assert both is not None
    assert both.code == "silence"


def test_the_gain_counts_for_the_doctor_too(microphone: Microphone, tmp_path: Path) -> None:
    config = config_of(tmp_path)
    (finding,) = doctor.examine(replace(config, audio=replace(config.audio, gain_db=30)))
    assert finding.code == "works"  # the noise of one step is now above -80 dBFS


@pytest.mark.parametrize(
    ("dbfs", "noisy"),
    [
        ([-30.0] * 15, True),
        ([-36.0] * 15, False),
        ([-10.0, -40.0] * 8, False),  # somebody speaks
        ([-10.0, -20.0] * 8, False),  # and without a pause
        ([-30.0] * 9, False),  # too short to tell
    ],
)
def test_a_noisy_place(dbfs: list[float], noisy: bool) -> None:
    finding = doctor.judge([Level(one, one, False) for one in dbfs])
    assert (finding is not None and finding.code == "noisy") == noisy
    if finding:
        assert finding.level == "warning"
        assert "audio.denoise" in finding.hint


def test_one_bump_is_no_clipping() -> None:
    soft, hit = Level(-40, -30, False), Level(-20, 0, True)
    assert doctor.judge([soft] * 9 + [hit]) is None


@pytest.mark.parametrize(("rate_hz", "fine"), [(16_010.0, True), (16_200.0, False), (15_800.0, False), (None, True)])
def test_one_percent_is_the_limit(rate_hz: float | None, fine: bool) -> None:
    assert (doctor.judge_rate(rate_hz) is None) == fine


def test_the_rate_is_that_of_the_line_and_not_of_its_worst_point() -> None:
    arrivals = [(n * 0.02, n * 320) for n in range(75)]
    arrivals[-1] = (arrivals[-1][0] + 0.05, arrivals[-1][1])  # looked at 50 ms late
    rate_hz = doctor.rate_of(arrivals)
    assert rate_hz is not None
    assert abs(rate_hz / 16_000 - 1) < doctor.MOST_OFF
    assert doctor.rate_of(arrivals[:5]) is None


HDMI, LEFT, RIGHT = Card(0, "vc4hdmi0", False), Card(1, "Device", True), Card(2, "Device_1", True)


def test_what_there_is_is_named(microphone: Microphone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "cards", lambda: [HDMI, LEFT])
    finding = finding_of(tmp_path, "no-such-device")
    assert finding.message.endswith("there is: plughw:CARD=Device")
    assert finding.hint == "set audio.device to one of these: plughw:CARD=Device"


def test_a_default_that_could_be_several(
    microphone: Microphone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowpi.audio.cards.cards", lambda: [HDMI, LEFT, RIGHT])
    finding = finding_of(tmp_path, "default")
    assert (finding.level, finding.code) == ("failure", "several")
    assert finding.hint == "set audio.device to one of plughw:CARD=Device, plughw:CARD=Device_1"
    monkeypatch.setattr("flowpi.audio.cards.cards", lambda: [HDMI])
    finding = finding_of(tmp_path, "default")
    assert (finding.code, finding.hint.split(",")[0]) == ("absent", "plug a microphone in")
    finding = finding_of(tmp_path, "usb:1-1.4")
    assert (finding.code, finding.hint) == ("absent", "plug the microphone in there")


def test_the_daemon_may_say_the_same() -> None:
    finding = doctor.told({"microphone": "no sound from 'default' (several sound cards record): set it"})
    assert finding is not None
    assert (finding.code, finding.hint) == ("several", "set it")


def test_who_has_it_is_named(tmp_path: Path) -> None:
    taken = tmp_path / "asound" / "card1" / "pcm0c" / "sub0"
    taken.mkdir(parents=True)
    (taken / "status").write_text("state: RUNNING\nowner_pid   : 812\ntrigger_time: 5.1\n")
    free = tmp_path / "asound" / "card1" / "pcm1c" / "sub0"
    free.mkdir(parents=True)
    (free / "status").write_text("closed\n")
    (tmp_path / "812").mkdir()
    (tmp_path / "812" / "comm").write_text("pipewire\n")
    assert doctor.holders_of_sound(tmp_path) == ["pipewire (process 812)"]


def test_speech_that_is_too_quiet_is_shown_by_daemon_doctor_and_status(
    appliance: Appliance, microphone: Microphone, tmp_path: Path
) -> None:
    client = appliance.connect().subscribe("state")
    appliance.serve("echo")
    microphone.speak(audioop.mul(reference(), 2, 0.01))
    client.record("start")
    wait_for(lambda: microphone.unheard() == 0)
    client.record("stop")
    client.wait("state", lambda state: [fault["code"] for fault in state["faults"]] == ["quiet"])
    finding = finding_of(tmp_path)
    assert (finding.level, finding.code) == ("warning", "quiet")
    assert "audio.gain_db" in finding.hint
    assert "so quiet that words are lost" in appliance.run("status").stdout
