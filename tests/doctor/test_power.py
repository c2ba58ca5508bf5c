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
    folder = tmp_path / "sys/devices/platform" / name
    folder.mkdir(parents=True)
    (folder / "get_throttled").write_text("50005\n")
    assert [finding.code for finding in power.examine(tmp_path)] == ["undervoltage", "throttled"]


def sensor(root: Path, name: str, alarm: str) -> None:
    folder = root / "sys/class/hwmon" / f"hwmon{name}"
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "in0_lcrit_alarm").write_text(alarm)


def test_the_sensor_of_another_kernel_says_what_it_knows(tmp_path: Path) -> None:
    sensor(tmp_path, "cpu_thermal", "1\n")
    sensor(tmp_path, "rpi_volt", "1\n")
    (finding,) = power.examine(tmp_path)
    assert (finding.code, "(now)" in finding.message) == ("undervoltage", True)


def test_without_its_alarm_only_the_present_is_well(tmp_path: Path) -> None:
    sensor(tmp_path, "rpi_volt", "0\n")
    (finding,) = power.examine(tmp_path)
    assert finding.code == "works"
    assert "what was before is not known" in finding.message


@pytest.mark.parametrize("alarm", [None, "", "?\n"])
def test_a_pi_whose_kernel_tells_nothing_is_unknown_and_not_fine(tmp_path: Path, alarm: str | None) -> None:
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    (tmp_path / "proc/device-tree/model").write_text("Raspberry Pi 4 Model B Rev 1.4\0")
    if alarm is not None:
        sensor(tmp_path, "rpi_volt", alarm)
    (finding,) = power.examine(tmp_path)
    assert finding.code == "skipped"
    assert "unknown" in finding.message


def test_another_machine_has_nothing_to_say(tmp_path: Path) -> None:
    assert power.examine(tmp_path) == []
    sensor(tmp_path, "nvme", "1\n")
    assert power.examine(tmp_path) == []
