"""A run over the corpus, and a bounded search for what it lacks. `make fuzz` searches longer."""

import platform
from pathlib import Path

import pytest

from tests.fuzz.__main__ import CORPUS, NAMES, fuzz
from tests.fuzz.seeds import SEEDS
from tests.fuzz.targets import TARGETS

RUNS = 5_000


@pytest.mark.parametrize("name", NAMES)
def test_every_input_kept(name: str) -> None:
    """This runs on every machine, without the fuzzer."""
    paths = sorted((CORPUS / name).iterdir())
    assert paths
    for path in paths:
        TARGETS[name](path.read_bytes())


@pytest.mark.parametrize("name", NAMES)
def test_the_seeds_are_of_these_messages(name: str) -> None:
    kept = {path.name: path.read_bytes() for path in (CORPUS / name).iterdir() if not path.name.startswith("found-")}
    assert kept == dict(SEEDS[name]()), "python -m tests.fuzz.seeds"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="atheris has wheels for x86_64 alone")
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_found(name: str, tmp_path: Path) -> None:
    outcome = fuzz(name, RUNS, seed=1, keep=tmp_path / name)
    assert outcome.find is None, outcome.find
    assert outcome.executions >= RUNS
    assert outcome.coverage >= 100, "the roles are not instrumented"
