"""Speech in another language than English, from the microphone to the transcripts."""

import time
from pathlib import Path

from flowpi.dsp.format import RATE_HZ
from tests import models
from tests.audio.listening import wait_until
from tests.rig.appliance import Appliance
from tests.rig.microphone import Microphone
from tests.speech import espeak, word_error_rate

GERMAN = "Wir fahren morgen mit dem Zug nach Hamburg."


def test_the_transcript_says_the_language(tmp_path: Path, microphone: Microphone) -> None:
    with Appliance(tmp_path, "audio.device=live", backend="language: [en, de]") as appliance:
        server = appliance.serve("auto", None, f"server.model={models.WHISPER}")
        appliance.start()
        client = appliance.connect().subscribe("state", "transcript/#")
        assert client.record("start")["ok"]
        microphone.speak(espeak(GERMAN, "de"))
        client.wait("transcript/partial")
        wait_until(time.monotonic() + microphone.unheard() / 2 / RATE_HZ + 0.5)
        assert client.record("stop")["ok"]
        final = client.wait("transcript/final")
        assert word_error_rate(GERMAN, final["text"]) <= 0.25  # it depends on where the recording ends
        assert final["language"] == "de"
        client.wait("state", lambda state: state["state"] == "idle")
        assert appliance.transcripts() == [final]
        assert server.notice("STATUS=").startswith("STATUS=whisper base, 99 languages; ")
