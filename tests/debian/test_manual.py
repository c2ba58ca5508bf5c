"""The manual page and the completions that the package has, in the programs that read them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flowpi.cli.parser import parser
from tests.docs.test_api import commands
from tests.waiting import PATIENCE_S

ROOT = Path(__file__).parents[2]
MANUAL = "usr/share/man/man1/flowpi.1"
BASH = "usr/share/bash-completion/completions/flowpi"
ZSH = "usr/share/zsh/vendor-completions/_flowpi"
FISH = "usr/share/fish/vendor_completions.d/flowpi.fish"
COMPLETE = ROOT / "tests" / "rig" / "complete.py"


def make(place: Path, seed: str = "0") -> Path:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SOURCE_DATE_EPOCH": "1700000000", "PYTHONHASHSEED": seed}
    subprocess.run([sys.executable, ROOT / "debian" / "make-manual", place], env=environment, check=True)
    return place


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("manual"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory with a sound file."""
    (tmp_path / "interview.wav").touch()
    return tmp_path


def test_the_same_parser_gives_the_same_bytes(made: Path, tmp_path: Path) -> None:
    again = make(tmp_path, seed="1")
    for path in (MANUAL, BASH, ZSH, FISH):
        assert (again / path).read_bytes() == (made / path).read_bytes()


def test_the_manual_is_rendered_without_a_warning(made: Path) -> None:
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "100", "MAN_KEEP_FORMATTING": ""}
    done = subprocess.run(
        ["man", "--warnings", "--local-file", made / MANUAL],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    assert done.stderr == ""
    assert "flowpi - dictation appliance: press a button, talk, read the text" in done.stdout
    for name, command in commands(parser()):
        assert f"COMMAND 'flowpi {name}'" in done.stdout
        for action in command._actions:
            assert not action.option_strings or action.option_strings[0] in done.stdout


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["sta"], {"status"}),
        (["spool", ""], {"list", "retry", "export", "drop"}),
        (["record", "to"], {"toggle"}),
        (["listen", "--fo"], {"--format"}),
        (["transcribe", "inter"], {"interview.wav"}),
        (["demo", "inter"], {"interview.wav"}),
        (["-c", "inter"], {"interview.wav"}),
    ],
)
def test_bash_and_fish_complete(made: Path, home: Path, typed: list[str], offered: set[str]) -> None:
    words = " ".join(f"'{word}'" for word in ("flowpi", *typed))
    function = (
        subprocess.run(
            ["bash", "-c", f"source {made / BASH}; complete -p flowpi"], capture_output=True, text=True, check=True
        )
        .stdout.split("-F ")[1]
        .split()[0]
    )
    script = f"source {made / BASH}; COMP_WORDS=({words}); COMP_CWORD={len(typed)}; {function} flowpi '{typed[-1]}'; "
    bash = subprocess.run(
        ["bash", "-c", script + 'printf "%s\\n" "${COMPREPLY[@]}"'], cwd=home, capture_output=True, text=True
    )
    assert set(bash.stdout.split()) >= offered, bash
    fish = subprocess.run(
        ["fish", "--no-config", "-c", f"source {made / FISH}; complete -C 'flowpi {' '.join(typed)}'"],
        cwd=home,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert {line.partition("\t")[0] for line in fish.stdout.splitlines()} >= offered, fish


def test_zsh_completes(made: Path, home: Path) -> None:
    lines = {
        "provi": "provision",
        "spool exp": "spool export",
        "record to": "record toggle",
        "record --wa": "record --wait",
        "listen --te": "listen --text",  # beside a value that is not completed
        "transcribe --ba": "transcribe --backend",
        "transcribe inter": "transcribe interview.wav",
        "demo inter": "demo interview.wav",
        "-c inter": "-c interview.wav",
    }
    path = subprocess.run(["zsh", "-f", "-c", "echo $FPATH"], capture_output=True, text=True, check=True).stdout.strip()
    done = subprocess.run(
        [sys.executable, COMPLETE, "zsh", *(f"flowpi {line}" for line in lines)],
        env={**os.environ, "HOME": str(home), "FPATH": f"{(made / ZSH).parent}:{path}"},
        cwd=home,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [f"flowpi {line}" for line in lines.values()]
