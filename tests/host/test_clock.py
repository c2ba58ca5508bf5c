"""What the sandbox of the daemon leaves of the clock: only what timesyncd shows."""

from pathlib import Path

import pytest

from flowpi.host import clock


class Library:
    """The C library; `code` is what adjtimex(2) returns."""

    def __init__(self, code: int) -> None:
        self.code = code

    def adjtimex(self, buffer: object) -> int:
        return self.code


@pytest.mark.parametrize(
    ("code", "shown", "expected"),
    [
        (0, None, True),
        (5, "synchronized", False),
        (-1, "synchronized", True),
        (-1, "", False),
        (-1, None, None),
    ],
)
def test_whether_it_is_synchronised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, shown: str | None, expected: bool | None
) -> None:
    monkeypatch.setattr(clock, "TIMESYNCD", tmp_path / "timesync")
    monkeypatch.setattr("flowpi.host.clock.ctypes.CDLL", lambda name: Library(code))
    if shown is not None:
        (tmp_path / "timesync").mkdir()
    if shown:
        (tmp_path / "timesync" / shown).touch()
    assert clock.is_synchronised() is expected
