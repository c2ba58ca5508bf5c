"""The utterances that wait for their text, and their order. It holds no task and no time: `delivery.py` acts on it.

The oldest comes first. But an utterance that failed for reasons of its own, and not because a network or a server was
missing, comes after those that did so less often. After `MAX_STRIKES` such failures it is parked: no backend accepts
it, and somebody has to look at it. The parts of one utterance keep their order: none is sent or published while an
earlier one is in the backlog and not parked.
"""

from collections.abc import Callable, Iterable, Iterator

from msgspec import UNSET, Struct, UnsetType

from flowpi.audio.utterance import PartId, Utterance
from flowpi.backends.result import Recognised
from flowpi.core.errors import BackendError, NoText, ProtocolError
from flowpi.core.failover import concerns_utterance, condemns_utterance

MAX_STRIKES = 5
"""How many failures that only the utterance can explain park it."""

NOT_TRIED = "not tried yet"


class Waiting(Struct, frozen=True):
    """An utterance without a published text, as it is listed for the user.

    `reason`: why the last attempt failed, or what the utterance waits for.
    `attempts`: how often the backends were asked for it in this run of the daemon.
    `parked`: nothing is done about it until the user asks for it.
    `in_memory`: the disk refused it.
    `sending`: it is being spoken, a backend is being asked for it, or its text is being published.
    `live`: it is being spoken, or was a moment ago.
    `duration_s`: its length, or None if it is on the disk only.
    `deleting`: it is done with, and waits only for the disk to delete it.
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
    """An utterance in the backlog, and how its attempts went.

    `refusals`: how many failures may lie in this utterance. They decide the order.
    `strikes`: how many of them only the utterance can explain. They park it.
    `interruptions`: how many attempts in a row were cancelled because somebody began to speak.
    `profile`: that of the utterance; unset while only the disk knows.
    """

    part: PartId
    reason: str = NOT_TRIED
    attempts: int = 0
    refusals: int = 0
    strikes: int = 0
    interruptions: int = 0
    parked: bool = False
    texts_before: int = -1
    """The number of texts of its backends, of all utterances, at its last attempt without one; -1 before the first."""
    profile: str | UnsetType | None = UNSET


def nobody(entry: Pending) -> bool:
    """Return false: no entry is passed over."""
    return False


class Backlog:
    """The entries of the backlog by part, with the texts that some of them already have."""

    def __init__(self) -> None:
        self._entries: dict[PartId, Pending] = {}
        self._held: dict[PartId, Recognised] = {}
        """The texts that wait for the disk or for an earlier part."""

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, part: PartId) -> bool:
        return part in self._entries

    def __iter__(self) -> Iterator[Pending]:
        """Iterate over a copy of the entries, oldest first."""
        return iter(sorted(self._entries.values(), key=lambda entry: entry.part))

    def get(self, part: PartId) -> Pending | None:
        """Return the entry of a part, or None if it is not in the backlog."""
        return self._entries.get(part)

    def add(self, part: PartId) -> Pending:
        """Return the entry of a part, and add it first if there is none."""
        return self._entries.setdefault(part, Pending(part))

    def remove(self, part: PartId) -> bool:
        """Remove a part and the text that is held for it. Returns False if it is not in the backlog."""
        self._held.pop(part, None)
        return self._entries.pop(part, None) is not None

    def hold(self, recognised: Recognised) -> None:
        """Keep the text of a part until it can be published."""
        self._held[recognised.utterance.part_id] = recognised

    def let_go(self, part: PartId) -> None:
        """Discard the text of a part: a backend has to be asked again."""
        self._held.pop(part, None)

    def held(self) -> Iterator[Utterance]:
        """Iterate over the utterances whose texts are held."""
        return (recognised.utterance for recognised in self._held.values())

    def waits_for(self, part: PartId) -> PartId | None:
        """Return the closest earlier part of the same utterance that must be published first, or None."""
        for number in range(part.part - 1, 0, -1):
            entry = self._entries.get(PartId(part.utterance, number))
            if entry is not None and not entry.parked:
                return entry.part
        return None

    def next_to_ask(self, passed_over: Callable[[Pending], bool] = nobody) -> Pending | None:
        """Return the entry to send to the backends next, or None if none may be sent now.

        Args:
            passed_over: whether an entry is not to be sent now.
        """
        entries = (
            entry
            for entry in self._entries.values()
            if not (entry.parked or entry.part in self._held or self.waits_for(entry.part) or passed_over(entry))
        )
        return min(entries, key=lambda entry: (entry.refusals, entry.part), default=None)

    def next_to_publish(self, blocked: Callable[[PartId], bool]) -> Recognised | None:
        """Return the text to publish next, or None if none may be published now.

        Args:
            blocked: whether an earlier part that is not in the backlog must be published first.
        """
        parts = (part for part in self._held if self.waits_for(part) is None and not blocked(part))
        part = min(parts, default=None)
        return None if part is None else self._held[part]

    def failed(self, entry: Pending, errors: list[BackendError], backends: int, texts: int) -> bool:
        """Note that one attempt with all backends gave no text.

        Args:
            errors: the reasons, one for each backend that was asked.
            backends: the number of backends that are asked for this utterance.
            texts: the number of texts that these have given so far, of all utterances. Only if it has grown since the
                last attempt is it counted as a strike that no text came, or none that could be read: else the backend
                may send none to anyone.

        Returns:
            Whether the entry is parked from now on.
        """
        entry.interruptions = 0
        entry.refusals += any(map(concerns_utterance, errors))
        answers_others = texts > entry.texts_before >= 0
        entry.texts_before = texts
        if len(errors) < backends or not errors:
            return False  # a backend that was not asked may still accept it
        if all(_condemns(error, answers_others) for error in errors):
            return self.strike(entry)
        return False

    def strike(self, entry: Pending) -> bool:
        """Count a failure that only the utterance can explain. Returns whether the entry is parked from now on."""
        entry.strikes += 1
        entry.parked = entry.strikes >= MAX_STRIKES
        return entry.parked

    def forgive(self, parts: Iterable[PartId] | None = None) -> None:
        """Reset the failures of these parts, or of all, and unpark them."""
        for part in list(self._entries) if parts is None else parts:
            if entry := self._entries.get(part):
                entry.refusals = entry.strikes = entry.interruptions = 0
                entry.parked = False


def _condemns(error: BackendError, answers_others: bool) -> bool:
    """Return whether only the utterance can explain an error of a backend that does or does not answer others."""
    match error:
        case NoText():
            return answers_others
        case ProtocolError():
            return answers_others and condemns_utterance(error)
        case _:
            return condemns_utterance(error)
