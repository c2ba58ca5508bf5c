"""One recording in many forms has the same words, by the real recogniser."""

import io
from pathlib import Path

import soundfile

from flowpi.audio.sound import open_sound
from flowpi.server.engines import Expected, load_engine
from tests.speech import word_error_rate

DEMO_WAV = Path(__file__).parents[2] / "flowpi" / "data" / "demo.wav"
DEMO_TEXT = DEMO_WAV.with_suffix(".txt").read_text().partition("\n")[0]
FORMS = [("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III"), ("WAV", "ULAW"), ("WAV", "FLOAT")]


def test_every_form_gives_the_words_of_the_recording(tmp_path: Path) -> None:
    samples, rate_hz = soundfile.read(DEMO_WAV)
    engine, texts = load_engine("moonshine"), {}
    for form, subtype in FORMS:
        out = io.BytesIO()
        soundfile.write(out, samples, rate_hz, format=form, subtype=subtype)
        path = tmp_path / subtype
        path.write_bytes(out.getvalue())
        recognition = engine.recognition(Expected(("en",)))
        with open_sound(path) as sound:
            for block in sound.blocks():
                recognition.feed(block)
        texts[subtype] = recognition.finish()
    assert all(word_error_rate(DEMO_TEXT, text) <= 0.05 for text in texts.values()), texts
