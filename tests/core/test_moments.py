import datetime

import pytest

from flowpi.core.moments import moment_ms, span_ms

ZONE = datetime.timezone(datetime.timedelta(hours=2))
NOW = datetime.datetime(2026, 11, 29, 14, 30, 15, tzinfo=ZONE)


def ms(text: str) -> int:
    return round(datetime.datetime.fromisoformat(text).timestamp() * 1000)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2h", "2026-11-29T12:30:15+02:00"),
        ("30m ago", "2026-11-29T14:00:15+02:00"),
        ("1 d ago", "2026-11-28T14:30:15+02:00"),
        ("45s", "2026-11-29T14:29:30+02:00"),
        ("14:30", "2026-11-29T14:30:00+02:00"),
        ("14:31", "2026-11-28T14:31:00+02:00"),
        ("00:00", "2026-11-29T00:00:00+02:00"),
        ("2026-11-28", "2026-11-28T00:00:00+02:00"),
        ("2026-11-28T09:00", "2026-11-28T09:00:00+02:00"),
        ("2026-11-28T09:00:00.250Z", "2026-11-28T09:00:00.250+00:00"),
        ("999999d", "1970-01-01T00:00:00+00:00"),
    ],
)
def test_what_a_person_writes(text: str, moment: str) -> None:
    assert moment_ms(text, NOW) == ms(moment)


@pytest.mark.parametrize("text", ["", "yesterday", "2", "h", "25:00", "14:60", "2026-13-01", "-2h", "2h30m", "1h  ago"])
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (of several origins)
        moment_ms(text, NOW)


def test_what_a_program_writes() -> None:
    day = ms("2026-11-29T00:00:00+00:00")
    assert span_ms("2026-11-29") == (day, day + 86_400_000)
    assert span_ms("2026-11-29T01:00:00+01:00") == (day, day)
    for wrong in ("2026-11-29T00:00:00", "2h", "", "tomorrow"):
        with pytest.raises(ValueError):  # noqa: PT011 (of several origins)
            span_ms(wrong)
