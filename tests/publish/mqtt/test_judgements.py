"""What is concluded from what happened: a second machine with the same name, and what Home Assistant missed."""

from flowpi.core.errors import SinkError
from flowpi.publish.mqtt.absence import MOST_S, MOST_TEXTS, Absence
from flowpi.publish.mqtt.reasons import HungUpError, TakenOverError
from flowpi.publish.mqtt.rivalry import HOLD_S, IN_A_ROW, SOON_S, Rivalry
from tests.publish.test_files import final

HUNG_UP = HungUpError("the connection to the broker broke")


def test_one_that_is_told_of_another_machine_waits() -> None:
    rivalry = Rivalry("desk")
    rivalry.lost(TakenOverError("taken"), 3600.0, 100.0)
    assert "another machine uses the device_id 'desk'" in str(rivalry.error(100.0 + HOLD_S - 0.1))
    assert rivalry.error(100.0 + HOLD_S) is None
    rivalry.lost(HUNG_UP, 1.0, 200.0)  # it is still there
    assert rivalry.error(200.0) is not None


def test_connections_that_end_soon_after_each_other() -> None:
    rivalry = Rivalry("desk")
    for number in range(IN_A_ROW):
        assert rivalry.error(number) is None
        rivalry.lost(HUNG_UP, SOON_S / 2, number)
    assert rivalry.error(IN_A_ROW) is not None


def test_one_end_is_enough_if_another_machine_wrote_meanwhile() -> None:
    rivalry = Rivalry("desk")
    rivalry.wrote()
    assert rivalry.error(0.0) is None
    rivalry.lost(HUNG_UP, SOON_S / 2, 1.0)
    assert rivalry.error(1.0) is not None


def test_other_ends_are_no_second_machine() -> None:
    rivalry = Rivalry("desk")
    for now in range(20):
        rivalry.lost(HUNG_UP, SOON_S + 1, now)
        rivalry.lost(HUNG_UP, 1.0, now)
        rivalry.lost(SinkError("the broker does not answer any more"), 1.0, now)
        rivalry.lost(HUNG_UP, 1.0, now)
        rivalry.lost(HUNG_UP, 1.0, now)
        rivalry.not_reached()
        rivalry.lost(HUNG_UP, 1.0, now)
    assert rivalry.error(20) is None


def owed(absence: Absence) -> list[int]:
    numbers = []
    while (one := absence.next_owed()) is not None:
        numbers.append(int(one.id[-6:]))
        absence.paid()
    return numbers


def test_only_what_came_between_offline_and_online_is_owed() -> None:
    absence = Absence()
    absence.came(0.0)
    absence.acknowledged(final(1), 1.0)
    absence.went()
    absence.acknowledged(final(2), 2.0)
    absence.acknowledged(final(3), 3.0)
    absence.came(4.0)
    absence.acknowledged(final(4), 5.0)
    assert owed(absence) == [2, 3]
    absence.came(6.0)
    assert owed(absence) == []


def test_nothing_is_paid_to_nobody() -> None:
    absence = Absence()
    absence.went()
    absence.acknowledged(final(1), 1.0)
    absence.came(2.0)
    absence.went()
    absence.acknowledged(final(2), 3.0)
    assert owed(absence) == []
    absence.came(4.0)
    assert owed(absence) == [1, 2]


def test_what_is_owed_is_bounded() -> None:
    absence = Absence()
    absence.went()
    absence.acknowledged(final(1), 0.0)
    for number in range(2, MOST_TEXTS + 1):
        absence.acknowledged(final(number), 10.0)
    absence.came(MOST_S + 1)
    assert owed(absence) == list(range(2, MOST_TEXTS + 1))  # the first is too old
    absence.went()
    for number in range(2 * MOST_TEXTS):
        absence.acknowledged(final(number), 20.0)
    absence.came(21.0)
    assert owed(absence) == list(range(MOST_TEXTS, 2 * MOST_TEXTS))
