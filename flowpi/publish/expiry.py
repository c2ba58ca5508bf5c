"""Decides which day files of the transcripts are deleted for their age."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from flowpi.core.retention import DAY_S, overdue
from flowpi.publish.lines import end_of_day


class Expiry:
    """Remembers between two calls of `due` which files were too old: see `core/retention.py` for why."""

    def __init__(self, keep_days: int, max_lag_days: int) -> None:
        """
        Args:
            keep_days: how long a file is kept.
            max_lag_days: how long a file is kept at most if somebody still has to read it.
        """
        self.keep_days = keep_days
        self._max_lag_days = max_lag_days
        self._noted: dict[str, float] = {}
        """The state of `overdue` between two calls."""
        self._noted_held: dict[str, float] = {}
        """The same for the files that are held."""

    def limit_lag(self, max_lag_days: int) -> None:
        """Keep a file that is held for so many days at most."""
        self._max_lag_days = max_lag_days

    def due(
        self,
        names: Iterable[str],
        written: Mapping[str, float],
        is_held: Callable[[str], bool],
        *,
        unix_s: float,
        monotonic_s: float,
    ) -> Iterator[str]:
        """Yield the names of the files of days that ended more than `keep_days` ago.

        Args:
            written: the monotonic seconds of the last line of each file to which this process wrote.
            is_held: returns whether somebody still has to read a file.
            unix_s: the wall clock, in seconds.
            monotonic_s: a clock that does not leap, in seconds.
        """
        born = {name: end_of_day(name) for name in names}
        keep_s, held_s = self.keep_days * DAY_S, max(self.keep_days, self._max_lag_days) * DAY_S
        before = self._noted
        due, self._noted = overdue(born, before, keep_s=keep_s, unix_s=unix_s, monotonic_s=monotonic_s)
        too_late, self._noted_held = overdue(
            born, self._noted_held, keep_s=held_s, unix_s=unix_s, monotonic_s=monotonic_s
        )
        for name in due:
            age_s = monotonic_s - written.get(name, float("-inf"))
            if age_s < keep_s:
                continue  # its date comes from a clock that was wrong: it has texts of the last days
            may_be_held = name not in too_late or age_s < held_s
            if may_be_held and is_held(name):
                self._noted[name] = before[name]  # it goes at the first call after nobody holds it any more
                continue
            yield name
