"""An I2S microphone: 24 bits in 32 near -60 dBFS, with an offset 30 dB above, in the ALSA library and to the text."""

import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from flowpi.audio.sources import make_source
from flowpi.config.loading import load
from flowpi.dsp.format import RATE_HZ
from flowpi.dsp.level import measure
from flowpi.server.engines import Expected, load_engine
from tests.audio.listening import gaps, listen, sound
from tests.prompts import sample
from tests.rig import i2s
from tests.rig.appliance import Appliance
from tests.rig.microphone import Microphone
from tests.speech import Recording, WordErrors, total
from tests.waiting import wait_for

DEMO_WAV = Path(__file__).parents[2] / "flowpi" / "data" / "demo.wav"
DEMO_TEXT = DEMO_WAV.with_suffix(".txt").read_text().partition("\n")[0]

SETTINGS = ("board=i2s-mic", "audio.device=inmp441")

MORE_ERRORS_MAX = 0.015
"""How much higher the word error rate of soft speech may be than that of the same speech at its usual level: one point
over all prompts, and half a point more over the sample, of which another processor's arithmetic decides a few words.
Measured: 0.8 points over the sample, where one prompt alone makes four errors more, and 0.1 over all prompts."""


def test_speech_has_a_good_level_and_no_offset(microphone: Microphone) -> None:
    source = make_source(load(None, SETTINGS))
    source.open(time.monotonic())
    microphone.speak(DEMO_WAV, "inmp441")
    heard = listen(source, 3 * RATE_HZ)
    source.close()
    assert gaps(heard) == []
    pcm = sound(heard)[RATE_HZ:]
    level = measure(pcm)
    assert -36 < level.dbfs < -24
    assert not level.clipped
    values = memoryview(pcm).cast("h")
    assert abs(sum(values) / len(values)) < 10  # of an offset of 1036 steps, and 30 dB more


def test_in_16_bits_the_offset_and_the_gain_leave_nothing(microphone: Microphone) -> None:
    """What the path is for: narrowed first, as `plughw` does, the same sound is at the rail."""
    config = load(None, SETTINGS)
    narrow = make_source(replace(config, audio=replace(config.audio, device="plug:inmp441")))
    narrow.open(time.monotonic())
    microphone.speak(DEMO_WAV, "inmp441")
    assert measure(sound(listen(narrow, RATE_HZ))[RATE_HZ:]).clipped
    narrow.close()


def test_the_words_reach_the_text(microphone: Microphone, tmp_path: Path) -> None:
    with Appliance(tmp_path, *SETTINGS, "button.kind=none", "led.kind=none") as appliance:
        appliance.serve("moonshine")
        appliance.start()
        client = appliance.connect().subscribe("transcript/final")
        client.record("start")
        microphone.speak(DEMO_WAV, "inmp441")
        wait_for(lambda: microphone.unheard("inmp441") == 0)
        client.record("stop")
        text = client.wait("transcript/final")["text"]
    assert WordErrors.between(DEMO_TEXT, text).rate <= 0.05, text


@pytest.mark.lengthy
def test_soft_speech_has_no_more_word_errors_than_loud_speech() -> None:
    """`python -m tests.bench.words --soft` hears all prompts so, in the whole path."""
    engine = load_engine("moonshine")

    def errors(recording: Recording) -> WordErrors:
        recognition = engine.recognition(Expected(("en",)))
        recognition.feed(recording.pcm)
        return WordErrors.between(recording.text, recognition.finish())

    usual, soft = total(map(errors, sample())), total(errors(i2s.heard(one)) for one in sample())
    assert soft.rate <= usual.rate + MORE_ERRORS_MAX
