"""Utterance ids: ULIDs, 26 characters that sort by time.

Format: github.com/ulid/spec. Time and randomness come in as arguments.
"""

_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_RANDOM_BITS = 80

END_OF_TIME_MS = 253_402_300_800_000
"""The end of the year 9999, behind which there is no RFC 3339."""


class UlidFactory:
    """Ids that only ever grow while the process lives, whatever the wall clock does.

    Within one millisecond, or with a clock that went back, the next id is the last one plus one.
    """

    def __init__(self, after: str | None = None) -> None:
        """`after`: an id, from an earlier run, that all new ones must follow."""
        self._last = 0
        if after:
            self.follow(after)

    def follow(self, ulid: str) -> None:
        """All that are made from now on come after this one too. One of after the year 9999 is a stranger's."""
        if ulid_unix_ms(ulid) < END_OF_TIME_MS:
            self._last = max(self._last, ulid_to_int(ulid))

    def make(self, unix_ms: int, randomness: bytes) -> str:
        """`randomness`: 10 bytes."""
        value = unix_ms << _RANDOM_BITS | int.from_bytes(randomness[:10], "big")
        self._last = value if value > self._last else self._last + 1
        return int_to_ulid(self._last)


def int_to_ulid(value: int) -> str:
    return "".join(_DIGITS[value >> shift & 31] for shift in range(125, -1, -5))


def ulid_to_int(ulid: str) -> int:
    """Raises ValueError if it is no ULID."""
    if not is_ulid(ulid):
        raise ValueError(f"not a ULID: {ulid!r}")
    value = 0
    for digit in ulid:
        value = value << 5 | _DIGITS.index(digit)
    return value


def ulid_unix_ms(ulid: str) -> int:
    """When it was made, by the clock of then, and not after the end of time. Raises ValueError if it is no ULID."""
    return min(ulid_to_int(ulid) >> _RANDOM_BITS, END_OF_TIME_MS)


def is_ulid(text: str) -> bool:
    """26 digits of Crockford's base 32 in upper case, the first at most 7: safe as a file name."""
    return len(text) == 26 and text[0] <= "7" and all(digit in _DIGITS for digit in text)
