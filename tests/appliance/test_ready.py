"""What a daemon has imported when it says READY, because a Pi Zero imports at a tenth of the speed, and what it has
written."""

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
    aiohttp argparse cryptography dataclasses email evdev gpiod gpiozero hashlib http json moonshine_voice numpy
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
    return imported_in(tmp_path_factory.mktemp("run"))


def imported_in(folder: Path, config: str = "") -> set[str]:
    """Run a daemon until READY, with its files in `folder`, and return the modules that it has imported."""
    environ = {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "RUNTIME_DIRECTORY": str(folder),
        "STATE_DIRECTORY": str(folder / "state"),
    }
    if config:
        (folder / "flowpi.yaml").write_text(config)
        environ["FLOWPI_CONFIG"] = str(folder / "flowpi.yaml")
    ended = subprocess.run([sys.executable, "-c", IMPORTED], env=environ, check=True, stdout=subprocess.PIPE, text=True)
    return set(ended.stdout.split())


def test_a_press_by_command_is_possible_at_ready(imported: set[str]) -> None:
    assert {"flowpi.audio.alsa", "flowpi.publish.socket", "flowpi.spool.writer"} <= imported


@pytest.mark.parametrize("module", (OTHERS + OURS).split())
def test_what_a_press_by_command_does_not_need_is_imported_after_ready(imported: set[str], module: str) -> None:
    assert module not in imported


SINKS = """
publish:
  mqtt: {url: "mqtt://127.0.0.1:1"}
  webhooks: {desk: {url: "http://127.0.0.1:1/"}, live: {url: "http://127.0.0.1:1/", filters: [state]}}
  command: {run: [/bin/true]}
"""


def test_the_sinks_have_their_positions_at_ready_and_are_made_later(tmp_path: Path) -> None:
    imported = imported_in(tmp_path, SINKS)
    positions = {path.name for path in (tmp_path / "state" / "sinks").iterdir()}
    assert positions == {"mqtt.position", "webhook.desk.position", "command.position"}
    assert not {"aiohttp", "paho", "random", "flowpi.publish.webhook.sink", "flowpi.publish.mqtt.sink"} & imported
