"""`flowpi record stop --wait` with a real daemon."""

import subprocess
import sys
from pathlib import Path

from tests.rig.appliance import Appliance
from tests.rig.microphone import Microphone
from tests.waiting import PATIENCE_S


def test_it_prints_the_text_of_the_dictation_that_it_ends(tmp_path: Path, microphone: Microphone) -> None:
    with Appliance(tmp_path, "audio.device=clock") as appliance:
        appliance.serve("echo")
        appliance.start()

        def flowpi(*words: str) -> tuple[int, str, str]:
            command = [sys.executable, "-m", "flowpi", *words, *appliance.options]
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
            return done.returncode, done.stdout, done.stderr

        listener = appliance.connect().subscribe("transcript/final")
        assert flowpi("record", "toggle", "--wait") == (0, "", "recording\n")
        ended = flowpi("record", "toggle", "--wait")
        assert ended == (0, listener.wait("transcript/final")["text"] + "\n", "")
        nothing = "flowpi: nothing was being recorded: begin with `flowpi record start`\n"
        assert flowpi("record", "stop", "--wait") == (66, "", nothing)
