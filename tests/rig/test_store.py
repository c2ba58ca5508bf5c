"""The store of the rig: its entries are complete, even if a builder was killed."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.rig import store
from tests.waiting import PATIENCE_S

KILLED = """
import os, signal
from tests.rig import store
def build(place):
    (place / "half").write_text("of it")
    os.kill(os.getpid(), signal.SIGKILL)
store.kept("thing", "key", build)
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "flowpi-rig"


def write(place: Path) -> None:
    (place / "all").write_text("of it")


def killed() -> None:
    done = subprocess.run([sys.executable, "-c", KILLED], cwd=Path(__file__).parents[2])
    assert done.returncode == -9


def test_it_is_built_once() -> None:
    built: list[Path] = []
    for _ in range(2):
        thing = store.kept("thing", "key", built.append)
    assert len(built) == 1
    assert thing.is_dir()
    store.kept("thing", "another key", built.append)
    assert len(built) == 2


def test_a_killed_build_leaves_nothing_under_the_name(place: Path) -> None:
    killed()
    assert not (place / "thing-key").exists()
    thing = store.kept("thing", "key", write)
    assert [path.name for path in thing.iterdir()] == ["all"]


def test_a_failed_build_leaves_nothing_under_the_name(place: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        store.kept("thing", "key", lambda place: print(1 / 0))
    assert not (place / "thing-key").exists()


def test_who_wants_what_is_being_built_waits_for_it() -> None:
    begun, go_on = threading.Event(), threading.Event()
    built = []

    def slowly(place: Path) -> None:
        built.append(place)
        begun.set()
        go_on.wait(PATIENCE_S)
        write(place)

    first = threading.Thread(target=store.kept, args=("thing", "key", slowly))
    first.start()
    begun.wait(PATIENCE_S)
    found: list[bool] = []
    second = threading.Thread(target=lambda: found.append((store.kept("thing", "key", slowly) / "all").exists()))
    second.start()
    go_on.set()
    first.join(PATIENCE_S)
    second.join(PATIENCE_S)
    assert found == [True]
    assert len(built) == 1


def test_the_sweep_takes_what_is_dead_or_old_and_nothing_else(place: Path) -> None:
    killed()
    old, new = store.kept("old", "key", write), store.kept("new", "key", write)
    long_ago = time.time() - 2 * store.UNUSED_DAYS * 86_400
    os.utime(old, (long_ago, long_ago))
    begun, go_on = threading.Event(), threading.Event()

    def slowly(place: Path) -> None:
        begun.set()
        go_on.wait(PATIENCE_S)

    builder = threading.Thread(target=store.kept, args=("busy", "key", slowly))
    builder.start()
    begun.wait(PATIENCE_S)
    store.sweep()
    left = {path.name for path in place.iterdir() if path.is_dir()}
    go_on.set()
    builder.join(PATIENCE_S)
    assert left == {"new-key", "busy-key.building"}
    assert (new / "all").exists()


def test_the_key_is_of_names_and_content(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("one")
    one = store.key("a", file)
    assert one == store.key("a", b"one")
    assert one != store.key("ao", "ne")
    file.write_text("two")
    assert one != store.key("a", file)
