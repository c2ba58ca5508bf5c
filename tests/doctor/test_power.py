from pathlib import Path

import pytest

from flowpi.doctor import power


@pytest.mark.parametrize(
    ("flags", "codes"),
    [
        (0, ["works"]),
        (0x50005, ["undervoltage", "throttled"]),
        (0x50000, ["undervoltage", "throttled"]),
        (0x10000, ["undervoltage"]),
        (0x1, ["undervoltage"]),
        (0x80008, ["throttled"]),
        (0x20000, ["throttled"]),
    ],
)
def test_what_the_firmware_has_seen(flags: int, codes: list[str]) -> None:
    assert [finding.code for finding in power.judge(flags)] == codes


def test_now_and_before_are_told_apart() -> None:
    assert "(now)" in power.judge(0x10001)[0].message
    assert "(since the start, not now)" in power.judge(0x10000)[0].message


@pytest.mark.parametrize("name", ["soc/soc:firmware", "soc@107c000000/soc@107c000000:firmware"])
def test_where_the_firmware_of_each_pi_says_it(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir(parents=True)
    (tmp_path / name / "get_throttled").write_text("50005\n")
    assert [finding.code for finding in power.examine(tmp_path)] == ["undervoltage", "throttled"]


def test_another_machine_has_nothing_to_say(tmp_path: Path) -> None:
    assert power.examine(tmp_path) == []
