"""`flowpi record stop --wait` with a real daemon."""

from pathlib import Path

from tests.rig.appliance import Appliance
from tests.rig.microphone import Microphone


def test_it_prints_the_text_of_the_dictation_that_it_ends(tmp_path: Path, microphone: Microphone) -> None:
    with Appliance(tmp_path, "audio.device=clock") as appliance:
        appliance.serve("echo")
        appliance.start()

        listener = appliance.connect().subscribe("transcript/final")
        assert appliance.flowpi("record", "toggle", "--wait") == (0, "", "recording\n")
        ended = appliance.flowpi("record", "toggle", "--wait")
        assert ended == (0, listener.wait("transcript/final")["text"] + "\n", "")
        nothing = "flowpi: nothing was being recorded: begin with `flowpi record start`\n"
        assert appliance.flowpi("record", "stop", "--wait") == (66, "", nothing)
