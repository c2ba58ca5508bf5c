"""The test microphone itself: a lever without effect would make other tests pass wrongly."""

import audioop
import time
import wave
from pathlib import Path

import pytest

from flowpi.audio.alsa import AlsaSource
from flowpi.core.errors import MicrophoneError
from flowpi.dsp.format import RATE_HZ
from tests.audio.listening import gaps, listen, read_once, samples, sine, sound, wait_until
from tests.rig import microphone as rig
from tests.rig.microphone import PIPE_BYTES, Microphone
from tests.waiting import PATIENCE_S


def test_the_clock_tells_when_a_sample_was_heard(microphone: Microphone) -> None:
    source = AlsaSource("clock")
    source.open(time.monotonic())
    listen(source, RATE_HZ // 5)
    wait_until(source.due(time.monotonic()))
    heard, before, after = read_once(source)
    age = (int(after * RATE_HZ) - samples(sound(heard))[-1]) % 65_536 / RATE_HZ
    source.close()
    assert age < 0.1 + after - before


def test_speech_is_said_bit_by_bit_with_a_hair_of_noise_around_it(microphone: Microphone) -> None:
    source, said = AlsaSource("live"), sine(0.2).tobytes()[2:]
    source.open(time.monotonic())
    before = sound(listen(source, RATE_HZ // 20))
    microphone.speak(said)
    heard = sound(listen(source, RATE_HZ // 2))
    source.close()
    assert audioop.minmax(before, 2) == (-1, 1)
    assert said in heard
    assert audioop.minmax(heard.replace(said, b""), 2) == (-1, 1)


@pytest.mark.parametrize("sample", [0, -300])
@pytest.mark.parametrize("device", ["live", "clock", "usb48", "i2s", "inmp441"])
def test_muted_it_gives_one_sample_only(microphone: Microphone, device: str, sample: int) -> None:
    source = AlsaSource(device)
    expected = 0 if device in ("i2s", "inmp441") else sample  # of more than 16 bits the offset is removed
    microphone.mute(sample)
    source.open(time.monotonic())
    microphone.speak(sine(0.5).tobytes())
    listen(source, RATE_HZ * 3 // 4)  # also past the ringing of the resampler after the step at its start
    assert audioop.minmax(sound(listen(source, RATE_HZ // 10)), 2) == (expected, expected)
    microphone.unmute()
    low, high = audioop.minmax(sound(listen(source, RATE_HZ // 10)), 2)
    source.close()
    assert low < high


def test_in_a_storm_reads_are_overruns_until_it_is_calm(microphone: Microphone) -> None:
    source = AlsaSource("clock")
    source.open(time.monotonic())
    microphone.storm()
    heard = listen(source, RATE_HZ // 2)
    assert len(gaps(heard)) >= 3
    microphone.calm()
    listen(source, RATE_HZ // 10)
    heard = listen(source, RATE_HZ // 10)
    source.close()
    assert gaps(heard) == []


def test_another_card_has_the_same_name_and_levers_of_its_own(microphone: Microphone) -> None:
    source = AlsaSource("clock")
    source.open(time.monotonic())
    microphone.plug_in_as_another_card()
    with pytest.raises(MicrophoneError):
        source.read(time.monotonic())
    microphone.take()
    microphone.give_back()
    source.close()


def test_a_wav_is_said_at_the_rate_of_the_device(microphone: Microphone, tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "said.wav"), "wb") as file:
        file.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
        file.writeframes(sine(0.5).tobytes())
    microphone.speak(tmp_path / "said.wav")
    microphone.speak(tmp_path / "said.wav", "usb48")
    assert microphone.unheard() == RATE_HZ
    assert microphone.unheard("usb48") == 48_000 * 2


def test_more_than_a_pipe_holds_can_be_said_and_forgotten(microphone: Microphone) -> None:
    began = time.monotonic()
    microphone.speak(bytes(3 * PIPE_BYTES))
    assert time.monotonic() - began < PATIENCE_S / 2
    assert microphone.unheard() == 3 * PIPE_BYTES
    microphone.drain()
    assert microphone.unheard() == 0
    microphone.speak(b"ab")
    assert microphone.unheard() == 2


def test_without_a_compiler_it_names_the_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"apt-get install .*libasound2-dev"):
        rig.build(tmp_path)


def test_without_the_headers_it_names_the_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rig, "SOURCE", tmp_path / "microphone.c")
    (tmp_path / "microphone.c").write_text("#include <alsa/nonesuch.h>\n")
    with pytest.raises(RuntimeError, match=r"apt-get install .*libasound2-dev"):
        rig.build(tmp_path)
