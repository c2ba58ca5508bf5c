"""What a daemon on its defaults has imported when it says READY: a Pi Zero imports at a tenth of the speed."""

import subprocess
import sys
from pathlib import Path

import pytest

IMPORTED = """
import os, sys
from flowpi.cli import commands, main
from flowpi.appliance.daemon import run
from flowpi.config.loading import load
from flowpi.host.systemd import Notifier

class AtReady(Notifier):
    def ready(self):
        print(*sys.modules)
        sys.stdout.flush()
        os._exit(0)

assert main.parse(["run"]).command is commands.run
run(load(), AtReady({}))
"""

OTHERS = """
    aiohttp argparse cryptography dataclasses email evdev gpiozero hashlib http json lgpio moonshine_voice numpy
    onnxruntime random shutil soxr tempfile urllib.request wave websockets yaml zoneinfo
"""

OURS = """
    flowpi.audio.tones flowpi.audio.wav flowpi.backends.flow flowpi.backends.session flowpi.backends.suki
    flowpi.backends.tokens flowpi.backends.transport flowpi.backends.websocket flowpi.cli.parser flowpi.client
    flowpi.config.boards flowpi.config.checks flowpi.doctor flowpi.panel.apa102 flowpi.panel.evdev flowpi.panel.gpio
    flowpi.provision flowpi.server flowpi.setup flowpi.wire.flow flowpi.wire.suki
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("run")
    environ = {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "RUNTIME_DIRECTORY": str(folder),
        "STATE_DIRECTORY": str(folder / "state"),
    }
    ended = subprocess.run([sys.executable, "-c", IMPORTED], env=environ, check=True, stdout=subprocess.PIPE, text=True)
    return set(ended.stdout.split())


def test_a_press_by_command_is_possible_at_ready(imported: set[str]) -> None:
    assert {"flowpi.audio.alsa", "flowpi.publish.socket", "flowpi.spool.writer"} <= imported


@pytest.mark.parametrize("module", (OTHERS + OURS).split())
def test_what_a_press_by_command_does_not_need_is_imported_after_ready(imported: set[str], module: str) -> None:
    assert module not in imported
