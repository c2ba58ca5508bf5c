"""What is known of one backend: whether the last contact went well, and when it may be asked again.

There are two memories. `failing` gives the order: a backend that failed for reasons of its own comes after those that
did not. A rest forbids: a service that asked for one, or that failed again and again, is not contacted before the rest
is over. Time is an argument.
"""

import contextlib
from collections import deque

from flowpi.core.errors import BackendError, CredentialError, NotReached, NotResolved
from flowpi.core.failover import asked_rest_s, concerns_backend, concerns_key, rest_s

RETRY_NOW_EVERY_S = 60.0
MAX_FAILURES = 10
PER_S = 60.0
"""A backend that always fails must not be hammered, however many dictations wait. It is asked again at once at most
every `RETRY_NOW_EVERY_S`, and with another key once in an attempt; after `MAX_FAILURES` contacts without a text within
`PER_S` it has a rest."""


class Health:
    """The health of one backend.

    Attributes:
        error: of the last contact; None if that went well.
        failing: whether it failed in a way that concerns the backend and not the utterance, and neither a text nor a
            good probe came since.
        failures: contacts that failed since its last text. A good probe does not end this streak: a server that opens
            every session and gives no text must be passed over for longer each time.
    """

    def __init__(self, max_failures: int = MAX_FAILURES) -> None:
        self.error: BackendError | None = None
        self.failing = False
        self.failures = 0
        self._retried_at = float("-inf")
        self._contacts: deque[float] = deque(maxlen=max_failures)
        """The times when contacts since its last text began: attempts that failed or still last, and probes."""
        self._asked_until = float("-inf")
        self._rests_until = float("-inf")

    @property
    def rests_until(self) -> float:
        crowded = len(self._contacts) == self._contacts.maxlen
        return max(self._asked_until, self._rests_until, self._contacts[0] + PER_S if crowded else 0.0)

    @property
    def wants_key(self) -> bool:
        """Whether the key was missing or wrong in the last contact."""
        return self.error is not None and (isinstance(self.error, CredentialError) or concerns_key(self.error))

    def rests(self, now: float) -> bool:
        return now < self.rests_until

    def may_retry(self, now: float) -> bool:
        """Return whether it may be asked again at once; if so, the caller must do that."""
        if now - self._retried_at < RETRY_NOW_EVERY_S:
            return False
        self._retried_at = now
        return True

    def may_probe(self, now: float) -> bool:
        """Return whether a probe may be made; if so, it is counted, and the caller must make it.

        Probes use at most half of the contacts that a minute allows: the others are for utterances that wait.
        """
        recent = sum(now - at < PER_S for at in self._contacts)
        if self.rests(now) or recent * 2 >= (self._contacts.maxlen or 0):
            return False
        self._contacts.append(now)
        return True

    def begins(self, now: float) -> None:
        """Count a contact that is no probe: at its beginning, because that is when the other side is asked."""
        self._contacts.append(now)

    def failed(self, error: BackendError, now: float, *, began: float | None = None) -> None:
        """Remember a failed contact. `began`: when it was counted, None for a probe."""
        self.error = error
        self.failures += 1
        self.failing = self.failing or concerns_backend(error)
        self._asked_until = max(self._asked_until, now + asked_rest_s(error))
        self._rests_until = max(self._rests_until, now + rest_s(error))
        if began is not None and isinstance(error, CredentialError | NotReached | NotResolved):  # no contact
            with contextlib.suppress(ValueError):  # a text of another utterance has ended the count
                self._contacts.remove(began)

    def probed(self) -> None:
        """Remember that it opened a session."""
        self.error = None
        self.failing = False

    def answered(self) -> None:
        """Remember that it gave a text."""
        self.error = None
        self.failing = False
        self.failures = 0
        self._contacts.clear()
        self._asked_until = self._rests_until = float("-inf")

    def end_rest(self) -> None:
        """End a rest after failures, but not one that the service asked for."""
        self._contacts.clear()
        self._rests_until = float("-inf")
