"""Moments as people and programs write them: RFC 3339, a day, a time of today, or how long ago."""

import datetime
import re

_AGO = re.compile(r"(\d{1,6}) ?([smhd])(?: ago)?")
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_CLOCK = re.compile(r"(\d\d):(\d\d)")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")

PROGRAM_FORMS = "RFC 3339, such as 2026-11-29T12:00:00Z, or a day, such as 2026-11-29"
PERSON_FORMS = "2h, 30m, 1d, 14:30, 2026-11-29 or 2026-11-29T14:30:00Z"


def span_ms(text: str) -> tuple[int, int]:
    """Return the first Unix millisecond of a day in UTC and that of the next, or twice that of a moment in RFC 3339.

    Raises:
        ValueError: it is neither.
    """
    begin = datetime.datetime.fromisoformat(text)
    if _DAY.fullmatch(text):
        begin = begin.replace(tzinfo=datetime.UTC)
        return _ms(begin), _ms(begin) + 86_400_000
    if begin.tzinfo is None:
        raise ValueError("without a time zone")
    return _ms(begin), _ms(begin)


def moment_ms(text: str, now: datetime.datetime) -> int:
    """Return the Unix milliseconds of a moment in one of `PERSON_FORMS`.

    A day, and a moment without a time zone, are in that of `now`. A time of day is the latest that is not to come.

    Raises:
        ValueError: it has another form.
    """
    if match := _AGO.fullmatch(text):
        return max(0, _ms(now) - int(match[1]) * _UNITS_S[match[2]] * 1000)
    if match := _CLOCK.fullmatch(text):
        today = now.replace(hour=int(match[1]), minute=int(match[2]), second=0, microsecond=0)
        return _ms(today if today <= now else today - datetime.timedelta(days=1))
    found = datetime.datetime.fromisoformat(text)
    return _ms(found if found.tzinfo is not None else found.replace(tzinfo=now.tzinfo))


def _ms(moment: datetime.datetime) -> int:
    return max(0, round(moment.timestamp() * 1000))
