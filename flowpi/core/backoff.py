"""The growing waits between tries: doubled after each failure up to a bound, and spread ("equal jitter").

What fails for one appliance often fails for all in the same moment, such as a broker that restarts. Without the spread
all of them would come back in one moment, too. Half of each wait is certain, so that nobody is asked in a rush.

Pure: randomness is an argument.
"""

from collections.abc import Callable


def backoff_s(failures: int, chance: float, *, first_s: float, longest_s: float) -> float:
    """Return the seconds to wait after a number of failures in a row, at least one.

    Args:
        chance: from 0 to 1, new for each wait: from half of the wait to all of it.
        first_s: the whole wait after the first failure; it doubles with each further one.
        longest_s: the longest wait.
    """
    whole_s = min(longest_s, first_s * 2.0 ** min(failures - 1, 64))
    return whole_s * (0.5 + 0.5 * chance)


class Backoff:
    """The waits of one thing that is tried again: call `next_s` after each failure, and `reset` when it works."""

    def __init__(self, first_s: float, longest_s: float, chance: Callable[[], float]) -> None:
        """`chance` returns a random number from 0 to 1; for the rest see `backoff_s`."""
        self._first_s = first_s
        self._longest_s = longest_s
        self._chance = chance
        self._failures = 0

    def reset(self) -> None:
        """Begin anew with the shortest wait."""
        self._failures = 0

    def next_s(self) -> float:
        """Return the seconds to wait after another failure."""
        self._failures += 1
        return backoff_s(self._failures, self._chance(), first_s=self._first_s, longest_s=self._longest_s)
