"""Output that cannot be written: a full disk, a closed stdout, a reader that goes away; for every command."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from flowpi.cli.parser import parser
from tests.docs.test_api import commands
from tests.rig.appliance import Appliance
from tests.rig.microphone import Microphone
from tests.waiting import PATIENCE_S

FULL = "flowpi: the output cannot be written (No space left on device)\n"
DEMO_WAV = Path(__file__).parents[2] / "flowpi" / "data" / "demo.wav"


def on_a_full_disk(argv: Sequence[str]) -> tuple[int, str]:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "flowpi", *argv]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=PATIENCE_S, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["--help"],
        ["--version"],
        *([*name.split(), "--help"] for name, _ in commands(parser())),
        ["config", "check"],  # less than the buffer of stdout
        ["config", "show"],
        ["config", "schema"],  # more than it
        ["light"],
    ],
    ids=" ".join,
)
def test_a_full_disk_is_a_sentence(argv: list[str]) -> None:
    assert on_a_full_disk(argv) == (74, FULL)


def test_a_full_disk_is_a_sentence_beside_a_daemon(tmp_path: Path, microphone: Microphone) -> None:
    with Appliance(tmp_path, "audio.device=clock") as appliance:
        appliance.serve("echo")
        appliance.start()
        for argv in (
            ["status"], ["status", "--json"], ["status", "--follow"], ["listen"], ["listen", "state"],
            ["record", "stop"], ["spool", "list", "--json"], ["spool", "retry"], ["transcribe", str(DEMO_WAV)],
        ):  # fmt: skip
            assert on_a_full_disk([*argv, *appliance.options]) == (74, FULL), argv


@pytest.mark.parametrize(
    ("argv", "code"), [(["bogus"], 64), (["config", "check", "-o", "a=1"], 78), (["config", "check"], 0)]
)
def test_a_full_disk_behind_stderr_changes_no_exit_code(argv: list[str], code: int) -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "flowpi", *argv]
        assert subprocess.run(command, stdout=subprocess.DEVNULL, stderr=full, timeout=PATIENCE_S).returncode == code


@pytest.mark.parametrize("argv", [["config", "check"], ["config", "schema"], ["--help"], []], ids=" ".join)
def test_a_closed_stdout_is_no_error(argv: list[str]) -> None:
    command = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "flowpi", *argv]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("argv", "code"), [(["transcribe", "/absent"], 66), (["nonsense"], 64), (["status"], 69)], ids=str
)
def test_with_a_closed_stderr_nothing_goes_elsewhere(tmp_path: Path, argv: list[str], code: int) -> None:
    command = ["sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-m", "flowpi", *argv]
    settings = {"FLOWPI_CONFIG": "/dev/null", "RUNTIME_DIRECTORY": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(command, env={**os.environ, **settings}, stdout=subprocess.PIPE, timeout=PATIENCE_S)
    assert (done.returncode, done.stdout) == (code, b"")


@pytest.mark.parametrize("argv", [["--help"], ["--version"]], ids=" ".join)
def test_a_reader_that_goes_away_ends_the_help_too(argv: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        command = [sys.executable, "-m", "flowpi", *argv]
        done = subprocess.run(
            command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=PATIENCE_S, check=False
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")
