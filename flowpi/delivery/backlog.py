"""What waits for its text, and in which order. No task and no time in here: `delivery.py` acts on it.

Oldest first; but one that failed by itself, and not for want of a network or a server, comes after those that did so
less often, and once it has done so `MAX_STRIKES` times it is parked: no backend takes it, and somebody has to look.
The parts of one utterance go in their order: none is asked for or published while an earlier one is here that is not
parked.
"""

from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct

from flowpi.audio.utterance import PartId
from flowpi.backends.result import Recognised
from flowpi.core.errors import BackendError, NoText
from flowpi.core.failover import concerns_utterance, condemns_utterance

MAX_STRIKES = 5

NOT_TRIED = "not tried yet"


class Waiting(Struct, frozen=True):
    """An utterance without a published text, for its owner.

    `reason`: of the last failure, or what it waits for. `attempts`: how often backends were asked for it, in this life
    of the daemon. `parked`: nothing is done until its owner says so. `in_memory`: it is not on the disk. `sending`: a
    backend is being asked, or it is still being spoken. `live`: it is, or was a moment ago. `duration_s`: None if only
    the disk knows. `deleting`: it is over, and waits for nothing but a disk that deletes it.
    """

    part: PartId
    reason: str
    attempts: int
    parked: bool
    in_memory: bool
    sending: bool
    live: bool = False
    duration_s: float | None = None
    deleting: bool = False


class Pending(Struct, eq=False):
    """`refusals`: failures that say something of this utterance. `strikes`: those of them that nothing but the
    utterance can explain. `interruptions`: in a row, by people who began to speak.
    """

    part: PartId
    reason: str = NOT_TRIED
    attempts: int = 0
    refusals: int = 0
    strikes: int = 0
    interruptions: int = 0
    parked: bool = False
    texts_before: int = -1
    """How many texts there had been when it was last left without one."""


class Backlog:
    def __init__(self) -> None:
        self._entries: dict[PartId, Pending] = {}
        self.held: dict[PartId, Recognised] = {}
        """Texts of some of them, which wait for the disk or for an earlier part."""

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, part: PartId) -> bool:
        return part in self._entries

    def __iter__(self) -> Iterator[Pending]:
        """Oldest first."""
        return iter(sorted(self._entries.values(), key=lambda entry: entry.part))

    def get(self, part: PartId) -> Pending | None:
        return self._entries.get(part)

    def add(self, part: PartId) -> Pending:
        return self._entries.setdefault(part, Pending(part))

    def remove(self, part: PartId) -> bool:
        """False if it is not here."""
        self.held.pop(part, None)
        return self._entries.pop(part, None) is not None

    def waits_for(self, part: PartId) -> PartId | None:
        """The nearest earlier part of the same utterance that has to be published first."""
        for number in range(part.part - 1, 0, -1):
            entry = self._entries.get(PartId(part.utterance, number))
            if entry is not None and not entry.parked:
                return entry.part
        return None

    def next_to_ask(self) -> Pending | None:
        """Whose turn it is to be sent to the backends."""
        entries = (
            entry
            for entry in self._entries.values()
            if not entry.parked and entry.part not in self.held and self.waits_for(entry.part) is None
        )
        return min(entries, key=lambda entry: (entry.refusals, entry.part), default=None)

    def next_to_publish(self, blocked: Callable[[PartId], bool]) -> Recognised | None:
        """Whose text may go out. `blocked`: by an earlier part that is not in the backlog."""
        parts = (part for part in self.held if self.waits_for(part) is None and not blocked(part))
        part = min(parts, default=None)
        return None if part is None else self.held[part]

    def failed(self, entry: Pending, errors: list[BackendError], backends: int, texts: int) -> bool:
        """A round over so many backends gave no text, for these reasons; one a backend that was asked.

        `texts`: how many there have been of all utterances. While there is none, a backend that sends no text
        (`NoText`) does so to everyone.

        Returns:
            Whether it is parked from now on.
        """
        entry.interruptions = 0
        entry.refusals += any(map(concerns_utterance, errors))
        answers_others = texts > entry.texts_before >= 0
        entry.texts_before = texts
        if len(errors) < backends or not errors:
            return False  # one that was not asked may take it
        if all(condemns_utterance(error) or (isinstance(error, NoText) and answers_others) for error in errors):
            return self.strike(entry)
        return False

    def strike(self, entry: Pending) -> bool:
        """It failed by itself. Returns whether it is parked from now on."""
        entry.strikes += 1
        entry.parked = entry.strikes >= MAX_STRIKES
        return entry.parked

    def forgive(self, parts: Iterable[PartId] | None = None) -> None:
        """Forget what failed and unpark these, or all."""
        for part in list(self._entries) if parts is None else parts:
            if entry := self._entries.get(part):
                entry.refusals = entry.strikes = entry.interruptions = 0
                entry.parked = False
