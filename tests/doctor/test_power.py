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


def test_another_machine_has_nothing_to_say() -> None:
    if not power.FLAGS.exists():
        assert power.examine() == []
