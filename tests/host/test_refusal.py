import stat
from pathlib import Path

from flowpi.host import refusal


def test_it_stays_until_it_is_withdrawn(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert refusal.read(run) is None
    refusal.tell(run, "flowpi.yaml, line 1: led.pin must be\na number")
    assert refusal.read(run) == "flowpi.yaml, line 1: led.pin must be a number"
    refusal.tell(run, "another")
    assert refusal.read(run) == "another"
    refusal.withdraw(run)
    refusal.withdraw(run)
    assert refusal.read(run) is None
    assert list(run.iterdir()) == []


def test_the_daemon_may_read_it(tmp_path: Path) -> None:
    run = tmp_path / "run"
    refusal.tell(run, "words")
    assert stat.S_IMODE((run / "refused").stat().st_mode) == 0o644
    assert run.stat().st_mode & 0o005 == 0o005


def test_what_is_no_text_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "refused").write_bytes(b"\xff")
    assert refusal.read(tmp_path) is None
    (tmp_path / "refused").write_bytes(b"")
    assert refusal.read(tmp_path) is None
