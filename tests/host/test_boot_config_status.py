import stat
from pathlib import Path

from flowpi.host import boot_config_status


def test_it_stays_until_it_is_withdrawn(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert boot_config_status.read(run) is None
    boot_config_status.tell(run, "flowpi.yaml, line 1: led.pin must be\na number")
    assert boot_config_status.read(run) == "flowpi.yaml, line 1: led.pin must be a number"
    boot_config_status.tell(run, "another")
    assert boot_config_status.read(run) == "another"
    boot_config_status.withdraw(run)
    boot_config_status.withdraw(run)
    assert boot_config_status.read(run) is None
    assert list(run.iterdir()) == []


def test_the_daemon_may_read_it(tmp_path: Path) -> None:
    run = tmp_path / "run"
    boot_config_status.tell(run, "words")
    assert stat.S_IMODE((run / "refused").stat().st_mode) == 0o644
    assert run.stat().st_mode & 0o005 == 0o005


def test_what_is_no_text_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "refused").write_bytes(b"\xff")
    assert boot_config_status.read(tmp_path) is None
    (tmp_path / "refused").write_bytes(b"")
    assert boot_config_status.read(tmp_path) is None
