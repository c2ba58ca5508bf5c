from flowpi.backends.health import PER_S, Health
from flowpi.core.errors import LinkError, NotReached


def test_a_contact_counts_from_its_beginning() -> None:
    health = Health(max_failures=2)
    health.begins(0.0)
    health.failed(LinkError("no text"), 40.0, began=0.0)
    assert not health.rests(40.0)
    health.begins(50.0)  # and still lasts
    assert health.rests(PER_S - 1)
    assert not health.rests(PER_S)


def test_what_reached_nobody_is_no_contact() -> None:
    health = Health(max_failures=2)
    for at in (0.0, 1.0, 2.0):
        health.begins(at)
        health.failed(NotReached("no route"), at, began=at)
    assert not health.rests(2.0)


def test_a_text_ends_the_count() -> None:
    health = Health(max_failures=2)
    health.begins(0.0)
    health.begins(1.0)
    health.answered()
    assert not health.rests(1.0)
    health.failed(NotReached("no route"), 2.0, began=1.0)
    assert not health.rests(2.0)
