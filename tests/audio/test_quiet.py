"""A microphone that is too quiet for the recogniser, on a jumping clock; and the gain that mends it."""

import array
import asyncio
import audioop
import time
import wave
from pathlib import Path

import pytest

from flowpi.audio.sources import make_source
from flowpi.config.schema import AudioSettings, Config
from flowpi.dsp.format import FRAME_BYTES, RATE_HZ
from flowpi.dsp.pcm import louder
from tests.audio.listening import listen, sound
from tests.audio.room import Room
from tests.audio.variants import reference
from tests.rig.microphone import Microphone
from tests.sound import beginning


def softened(gain_db: float) -> bytes:
    return audioop.mul(reference(), 2, 10 ** (gain_db / 20))


async def test_a_dictation_that_is_too_quiet_is_told_when_it_ends(room: Room) -> None:
    room.source.speech = softened(-40)
    await room.record(4)
    assert room.quiets == [True]
    room.source.speech = softened(-15)
    await room.record(4)
    assert room.quiets == [True, False]


@pytest.mark.parametrize("constant", [0, 7])
async def test_of_a_dictation_without_speech_nothing_is_told(room: Room, constant: int) -> None:
    room.source.constant = constant
    await room.record(4)
    assert room.quiets == []


async def test_a_dictation_of_several_parts_is_judged_as_one(room: Room) -> None:
    room.source.speech = softened(-40)
    first, second = room.press(), beginning()
    room.capture.continue_in(first, second, room.loop.time() + 2, lambda: None)
    await first.wait_complete()
    assert room.quiets == []
    await asyncio.sleep(1)
    room.capture.end(second, room.loop.time())
    await second.wait_complete()
    assert room.quiets == [True]


@pytest.mark.parametrize(("gain_db", "quiet"), [(0, True), (20, False), (40, False)])
async def test_a_gain_makes_it_loud_enough(room: Room, gain_db: float, quiet: bool) -> None:
    room.source.speech = louder(softened(-40), 10 ** (gain_db / 20))
    await room.record(4)
    assert room.quiets == [quiet]


def test_the_setting_concerns_every_kind_of_source(tmp_path: Path, microphone: Microphone) -> None:
    samples = array.array("h", [100, -100, 20_000, -20_000] * 800)
    expected = [1000, -1000, 32_767, -32_768]
    with wave.open(str(tmp_path / "said.wav"), "wb") as file:
        file.setparams((1, FRAME_BYTES, RATE_HZ, 0, "NONE", ""))
        file.writeframes(samples.tobytes())
    settings = AudioSettings(source="wav", path=str(tmp_path / "said.wav"), gain_db=20)
    source = make_source(Config(audio=settings))
    source.open(1000.0)
    assert sound(source.read(1000.1))[:8] == array.array("h", expected).tobytes()
    source = make_source(Config(audio=AudioSettings(device="live", gain_db=20)))
    source.open(time.monotonic())
    microphone.speak(samples.tobytes())
    assert array.array("h", expected * 800).tobytes() in sound(listen(source, RATE_HZ // 2))
    source.close()
