"""Utterance ids: ULIDs, 26 characters that sort by time.

Format: github.com/ulid/spec. Time and randomness are arguments.
"""

_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_RANDOM_BITS = 80

END_OF_TIME_MS = 253_402_300_800_000
"""The end of the year 9999, the last that RFC 3339 can express."""


class UlidFactory:
    """Makes ids that only grow while the process runs, whatever the wall clock does.

    Within one millisecond, or after the clock was set back, the next id is the last one plus one.
    """

    def __init__(self, after: str | None = None) -> None:
        """Make ids that sort after `after`, an id of an earlier run, if there is one."""
        self._last = 0
        if after:
            self.follow(after)

    def follow(self, ulid: str) -> None:
        """Make ids that sort after this one, too, from now on. An id dated after 9999 is ignored: it is not ours."""
        if ulid_unix_ms(ulid) < END_OF_TIME_MS:
            self._last = max(self._last, ulid_to_int(ulid))

    def make(self, unix_ms: int, randomness: bytes) -> str:
        """Return a new id.

        Args:
            unix_ms: the wall clock, in milliseconds.
            randomness: 10 random bytes.
        """
        value = unix_ms << _RANDOM_BITS | int.from_bytes(randomness[:10], "big")
        self._last = value if value > self._last else self._last + 1
        return int_to_ulid(self._last)


def int_to_ulid(value: int) -> str:
    """Return the ULID of a number of 128 bits."""
    return "".join(_DIGITS[value >> shift & 31] for shift in range(125, -1, -5))


def ulid_to_int(ulid: str) -> int:
    """Return the number that a ULID encodes. Raises ValueError if it is no ULID."""
    if not is_ulid(ulid):
        raise ValueError(f"not a ULID: {ulid!r}")
    value = 0
    for digit in ulid:
        value = value << 5 | _DIGITS.index(digit)
    return value


def ulid_unix_ms(ulid: str) -> int:
    """Return the Unix milliseconds at which a ULID was made, by the clock at that time, `END_OF_TIME_MS` at most.

    Raises:
        ValueError: it is no ULID.
    """
    return min(ulid_to_int(ulid) >> _RANDOM_BITS, END_OF_TIME_MS)


def first_ulid(unix_ms: int) -> str:
    """Return the least ULID of a millisecond. Raises ValueError if that is after the year 9999."""
    if not 0 <= unix_ms < END_OF_TIME_MS:
        raise ValueError(f"no time of a ULID: {unix_ms}")
    return int_to_ulid(unix_ms << _RANDOM_BITS)


def is_ulid(text: str) -> bool:
    """Whether a text is a ULID in upper case: 26 digits of base 32, the first at most 7. It is safe as a file name."""
    return len(text) == 26 and text[0] <= "7" and all(digit in _DIGITS for digit in text)
