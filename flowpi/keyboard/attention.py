"""Whether somebody dictates, by what the daemon publishes, and how old texts are.

While somebody dictates, nothing is typed: the keys that belong to it may be held on the same computer, and would make
shortcuts of the text. A text that waits for that does not age meanwhile, as whoever dictates is still at the cursor;
but a key that is stuck must not keep texts young for ever.
"""

LONGEST_S = 900.0
"""How long a dictation may keep texts young."""

STUCK_S = 2 * LONGEST_S
"""How long a button may be held. After that it is stuck, or nobody said that it was released; but then the texts that
waited for it are old."""


class Attention:
    """Listens to the topics `state` and `event/button`. Times are seconds of one clock, in any order of calls."""

    def __init__(self) -> None:
        self._recording = False
        self._pressed: dict[str, float] = {}
        """When each button that is held was pressed, by its profile; that of the one without is empty."""
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
            self._pressed[profile] = now
        elif kind == "released":
            self._pressed.pop(profile, None)
        self._changed(now)

    def forget(self, now: float) -> None:
        """Assume that nobody dictates, as the daemon has gone."""
        self._recording = False
        self._pressed.clear()
        self._changed(now)

    def next_deadline(self) -> float | None:
        """Return when to call `handle_deadline`, or None for never."""
        return min((at + STUCK_S for at in self._pressed.values()), default=None)

    def handle_deadline(self, now: float) -> None:
        """Count a button that is stuck as released."""
        self._pressed = {profile: at for profile, at in self._pressed.items() if now < at + STUCK_S}
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
