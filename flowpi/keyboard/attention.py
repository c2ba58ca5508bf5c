"""Whether somebody dictates, by what the daemon publishes, and how old texts are.

While somebody dictates, nothing is typed: the keys that belong to it may be held on the same computer, and would make
shortcuts of the text. A text that waits for that does not age meanwhile, as whoever dictates is still at the cursor;
but a key that is stuck must not keep texts young for ever.
"""

LONGEST_S = 900.0
"""How long a dictation may keep texts young."""


class Attention:
    """Listens to the topics `state` and `event/button`. Times are seconds of one clock, in any order of calls."""

    def __init__(self) -> None:
        self._recording = False
        self._pressed: set[str] = set()
        """The buttons that are held, by their profiles; the one without is empty."""
        self._since: float | None = None
        """When somebody began to dictate; None: nobody does."""
        self._dictated_s = 0.0
        """How long they have dictated, before that."""

    @property
    def is_dictating(self) -> bool:
        return self._recording or bool(self._pressed)

    def state(self, name: str, now: float) -> None:
        """Note the state of the appliance."""
        self._recording = name == "recording"
        self._changed(now)

    def button(self, kind: str, profile: str, now: float) -> None:
        """Note a gesture of a button."""
        if kind == "pressed":
            self._pressed.add(profile)
        elif kind == "released":
            self._pressed.discard(profile)
        self._changed(now)

    def forget(self, now: float) -> None:
        """Assume that nobody dictates, as the daemon has gone."""
        self._recording = False
        self._pressed.clear()
        self._changed(now)

    def quiet_s(self, now: float) -> float:
        """Return the time of a clock that stands still while somebody dictates."""
        return now - self._dictated_s - self._dictating_s(now)

    def _dictating_s(self, now: float) -> float:
        return 0.0 if self._since is None else min(now - self._since, LONGEST_S)

    def _changed(self, now: float) -> None:
        if self.is_dictating and self._since is None:
            self._since = now
        elif not self.is_dictating and self._since is not None:
            self._dictated_s += self._dictating_s(now)
            self._since = None
