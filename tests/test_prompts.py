"""The prompts: which there are, and what is said in them."""

from flowpi.dsp.format import FRAME_BYTES, RATE_HZ
from tests.prompts import CORRECTIONS, prompts, sample, spoken, texts


def test_all_of_the_package() -> None:
    words = sum(len(text.split()) for _, text in texts())
    assert len(prompts()) == 268
    assert words > 2900


def test_a_sound_has_its_length_and_level() -> None:
    recording = next(one for one in prompts() if one.name == "vm-options")
    assert recording.text.startswith("Press 1 to record your unavailable message, press 2")
    assert len(recording.pcm) / FRAME_BYTES / RATE_HZ == 16.36925
    samples = memoryview(recording.pcm).cast("h")
    assert 15_000 < max(samples) < 30_000


def test_what_is_no_speech_is_no_text() -> None:
    assert spoken("any", " ... press * or # now. (a tone) [beep] <beep>") == "press star or pound now"


def test_each_correction_is_made() -> None:
    said = dict(texts())
    for correction in CORRECTIONS:
        assert correction.spoken in said[correction.prompt]


def test_a_sample_is_of_everything() -> None:
    names = [recording.name for recording in sample()]
    everything = [recording.name for recording in prompts()]
    assert sorted(names, key=everything.index) == names
    assert {name[:2] for name in names} >= {"co", "de", "di", "vm"}
