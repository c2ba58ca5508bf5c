"""What somebody meets who tries flowpi in a clone: no service, no sound card, no GPIO, no configuration.

Each row is a command, its exit code, and the beginnings of what it prints on stdout and on stderr.
"""

import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rig.microphone import Microphone
from tests.waiting import PATIENCE_S

ROOT = Path(__file__).parents[2]
DEMO_WAV = str(ROOT / "flowpi" / "data" / "demo.wav")

ROWS: list[tuple[str, int, str, str]] = [
    ("", 0, "usage: flowpi ", ""),
    ("statu", 64, "", "there is no command 'statu': did you mean status?"),
    ("transcrib x.wav", 64, "", "there is no command 'transcrib': did you mean transcribe?"),
    (
        "status",
        69,
        "",
        "no daemon answers on '{home}/flowpi/flowpi.sock' (no such file or directory): start it with `flow",
    ),
    ("spool retry", 69, "", "no daemon runs to send them: start it with `flowpi run`: it tries all of them"),
    ("spool drop 01XXXX", 64, "", "no such utterance"),
    ("serve --listen x", 64, "", "--listen must be HOST:PORT or unix:PATH, not 'x'"),
    (
        "serve --listen 0.0.0.0:8123",
        64,
        "",
        "--listen 0.0.0.0:8123 is open to other machines, and no keys are set: set",
    ),
    (f"transcribe --backend nope {DEMO_WAV}", 64, "", "there is no backend for `--backend nope`: known: local"),
    (
        f"transcribe {DEMO_WAV}",
        69,
        "",
        "backend 'local' is not reached (no such file or directory): start `flowpi serve`",
    ),
    ("listen --text state", 64, "", "--text prints final texts and takes no FILTER: use --format text"),
    ("listen --format {txt}", 64, "", "--format names 'txt', which no message has: did you mean text?"),
    ("record start --wait", 64, "", "--wait waits for a text, and `record start` gives none: use it with stop or to"),
    (
        "config check -o audio.rat=1 -o led.pinn=2",
        78,
        "",
        "--set: audio.rat is not a known key: did you mean audio.rate?",
    ),
    ("setup --dry-run", 0, "the services are kept from seeing ", ""),
    ("provision --boot {home}/boot", 0, "", "nothing to take over at {home}/boot"),
    ("light", 0, "starting ", ""),
    ("demo --mic", 64, "", "`demo --mic` needs a terminal, whose space bar is the button: run it in one"),
]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    home = {name: str(tmp_path) for name in ("HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "STATE_DIRECTORY")}
    return {**os.environ, **home, "RUNTIME_DIRECTORY": f"{tmp_path}/flowpi", "FLOWPI_CONFIG": f"{tmp_path}/flowpi.yaml"}


@pytest.mark.parametrize(("typed", "code", "out", "err"), ROWS, ids=[row[0] or "flowpi" for row in ROWS])
def test_what_a_newcomer_tries(
    environment: dict[str, str], tmp_path: Path, typed: str, code: int, out: str, err: str
) -> None:
    (tmp_path / "flowpi.yaml").touch()
    words = [word.replace("{home}", str(tmp_path)) for word in typed.split()]
    done = subprocess.run(
        [sys.executable, "-m", "flowpi", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env=environment,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert done.stdout.startswith(out) if out else not done.stdout
    expected = err.replace("{home}", str(tmp_path))
    said = [line.removeprefix("flowpi: ").removeprefix("info: ") for line in done.stderr.splitlines()]
    assert any(line.startswith(expected) for line in said) if err else not said


def test_all_mistakes_of_a_configuration_are_a_line_each(environment: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "flowpi.yaml"
    file.write_text("audio:\n  rat: 1\nled:\n  pin: 400\nspol: {}\n")
    command = [sys.executable, "-m", "flowpi", "config", "check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, env=environment, check=False)
    assert (done.returncode, done.stdout) == (78, "")
    lines = sorted(done.stderr.splitlines())
    assert [line.partition(" is not")[0].partition(" must")[0] for line in lines] == [
        f"flowpi: {file}, line 2: audio.rat",
        f"flowpi: {file}, line 4: led.pin",
        f"flowpi: {file}, line 5: spol",
    ]


def on_a_terminal(command: list[str], environment: dict[str, str], columns: int) -> tuple[int, str]:
    """Run a command with a terminal as stdin and stdout; return its exit code and all that it printed."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "flowpi", *command],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**environment, "COLUMNS": str(columns)},
        cwd=ROOT,
    )
    os.close(theirs)
    said = b""
    try:
        while select.select([ours], [], [], PATIENCE_S)[0]:
            try:
                said += os.read(ours, 65536)
            except OSError:  # EIO: the child is gone
                break
        return child.wait(PATIENCE_S), said.decode()
    finally:
        child.kill()
        os.close(ours)


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_the_patterns_fit_on_a_terminal(environment: dict[str, str], tmp_path: Path, columns: int) -> None:
    code, said = on_a_terminal(["light"], environment, columns)
    assert code == 0
    assert max(map(len, said.splitlines())) <= columns


def test_a_demo_without_a_microphone_says_what_to_type(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "flowpi.yaml").touch()
    code, said = on_a_terminal(["demo", "--mic", "-o", "audio.device=plughw:CARD=Nosuch"], environment, 200)
    assert code == 66
    (only,) = said.splitlines()
    assert only.startswith("flowpi: no sound from 'plughw:CARD=Nosuch' (")
    assert only.endswith(
        "): name one with `flowpi demo --mic -o audio.device=plughw:CARD=NAME`; `arecord -L` lists them"
    )


def test_a_demo_does_not_wait_for_a_microphone_that_is_stuck(
    environment: dict[str, str], tmp_path: Path, microphone: Microphone
) -> None:
    (tmp_path / "flowpi.yaml").touch()
    environment["ALSA_CONFIG_PATH"] = str(microphone.config_path)
    microphone.hang()
    try:
        code, said = on_a_terminal(["demo", "--mic", "-o", "audio.device=clock"], environment, 200)
    finally:
        microphone.unhang()
    assert code == 66
    (only,) = said.splitlines()
    assert only.startswith("flowpi: no sound from 'clock' (it does not answer): name one with `flowpi demo --mic -o ")
