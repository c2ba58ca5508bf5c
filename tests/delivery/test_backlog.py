"""The order of the backlog, and what is parked."""

import pytest

from flowpi.audio.utterance import About, PartId, Utterance
from flowpi.backends.result import Recognised, Timings
from flowpi.core.errors import BackendError, LinkError, NoText, ProtocolError, RefusedError
from flowpi.delivery.backlog import MAX_STRIKES, Backlog
from flowpi.wire.roles import FinalText
from tests.sound import ulid


def part(number: int, of: int = 1) -> PartId:
    return PartId(ulid(number), of)


def holding(*parts: PartId) -> Backlog:
    backlog = Backlog()
    for one in parts:
        backlog.add(one)
    return backlog


def turn(backlog: Backlog) -> PartId | None:
    entry = backlog.next_to_ask()
    return None if entry is None else entry.part


def fail(backlog: Backlog, one: PartId, *errors: BackendError, backends: int = 1, texts: int = 0) -> bool:
    entry = backlog.get(one)
    assert entry is not None
    return backlog.failed(entry, list(errors), backends, texts)


def test_the_oldest_is_first() -> None:
    backlog = holding(part(2), part(3), part(1))
    fail(backlog, part(1), LinkError("no network"))
    assert turn(backlog) == part(1)
    assert [entry.part for entry in backlog] == [part(1), part(2), part(3)]
    assert backlog.remove(part(1))
    assert not backlog.remove(part(1))
    assert turn(backlog) == part(2)


def test_one_that_failed_by_itself_comes_after_the_others() -> None:
    backlog = holding(part(1), part(2))
    fail(backlog, part(1), RefusedError("no"))
    assert turn(backlog) == part(2)


def test_a_later_part_waits_for_an_earlier_one_that_is_not_parked() -> None:
    backlog = holding(part(1, 2), part(1, 4), part(2))
    assert turn(backlog) == part(1, 2)
    fail(backlog, part(1, 2), RefusedError("no"))
    assert turn(backlog) == part(2)
    assert backlog.waits_for(part(1, 4)) == part(1, 2)
    assert backlog.waits_for(part(1, 5)) == part(1, 4)
    for _ in range(MAX_STRIKES):
        fail(backlog, part(1, 2), RefusedError("no"))
    backlog.remove(part(2))
    assert turn(backlog) == part(1, 4)


def test_a_text_that_is_held_is_not_asked_for_again() -> None:
    backlog = holding(part(1), part(2))
    second, first = (
        Recognised(Utterance(About(ulid(number), 0.0)), FinalText("it was", "en"), "house", Timings())
        for number in (2, 1)
    )
    backlog.hold(second)
    backlog.hold(first)
    assert turn(backlog) is None
    assert backlog.next_to_publish(lambda one: False) is first
    assert backlog.next_to_publish(lambda one: one == part(1)) is second
    assert backlog.next_to_publish(lambda one: True) is None


def test_interruptions_count_in_a_row() -> None:
    backlog = holding(part(1))
    entry = backlog.get(part(1))
    assert entry is not None
    entry.interruptions = 3
    fail(backlog, part(1), LinkError("no network"))
    assert entry.interruptions == 0
    entry.interruptions = 3
    backlog.forgive()
    assert entry.interruptions == 0


@pytest.mark.parametrize(
    ("error", "parked"),
    [
        (ProtocolError("x"), False),
        (BackendError("a bug"), True),
        (RefusedError("language: this server understands en"), True),
        (RefusedError("the quota is used up"), False),
        (RefusedError("the server refused: internal"), False),
        (RefusedError("the token has expired"), False),
        (LinkError("no network"), False),
        (NoText("x"), False),
    ],
)
def test_only_what_nothing_but_the_utterance_explains_parks_it(error: BackendError, parked: bool) -> None:
    backlog = holding(part(1))
    told = [fail(backlog, part(1), error) for _ in range(MAX_STRIKES)]
    assert told == [False] * (MAX_STRIKES - 1) + [parked]
    assert turn(backlog) == (None if parked else part(1))
    backlog.forgive([part(1), part(7)])
    assert turn(backlog) == part(1)


@pytest.mark.parametrize("error", [NoText("x"), ProtocolError("x")])
def test_a_backend_that_sends_texts_to_others_and_not_for_this_one(error: BackendError) -> None:
    backlog = holding(part(1))
    told = [fail(backlog, part(1), error, texts=texts) for texts in range(MAX_STRIKES + 1)]
    assert told == [False] * MAX_STRIKES + [True]


def test_rubbish_before_any_audio_is_no_ones_fault_but_the_servers() -> None:
    backlog, error = holding(part(1)), ProtocolError("x")
    error.before_audio = True
    assert not any(fail(backlog, part(1), error, texts=texts) for texts in range(10 * MAX_STRIKES))


def test_one_that_was_not_asked_may_take_it() -> None:
    backlog = holding(part(1))
    for texts in range(10 * MAX_STRIKES):
        assert not fail(backlog, part(1), RefusedError("x"), backends=2)
        assert not fail(backlog, part(1), ProtocolError("x"), LinkError("x"), backends=2, texts=texts)
        assert not fail(backlog, part(1), backends=0)
