from flowpi.core.retention import CLOCK_SET_S, DAY_S, overdue

NOW_S = 1_700_000_000.0
KEEP_S = 30 * DAY_S


def after(
    days: float, born: dict[str, float], noted: dict[str, float], leap_s: float = 0
) -> tuple[list[str], dict[str, float]]:
    """Return what is overdue after a number of days of uptime. `leap_s`: how far the wall clock is ahead."""
    return overdue(born, noted, keep_s=KEEP_S, unix_s=NOW_S + days * DAY_S + leap_s, monotonic_s=days * DAY_S)


def test_what_was_old_a_day_ago_may_go_oldest_first() -> None:
    born = {"young": NOW_S - KEEP_S + 2 * DAY_S, "old": NOW_S - KEEP_S - 1, "older": NOW_S - KEEP_S - 2}
    due, noted = after(0, born, {})
    assert due == []
    due, noted = after(0.99, born, noted)
    assert due == []
    due, noted = after(1, born, noted)
    assert due == ["older", "old"]
    assert noted == {}


def test_a_leap_that_is_put_right_in_time_costs_nothing() -> None:
    born = {"today": NOW_S}
    _, noted = after(0, born, {}, leap_s=40 * DAY_S)
    _, noted = after(0.9, born, noted)
    assert noted == {}
    due, _ = after(1.5, born, noted, leap_s=40 * DAY_S)
    assert due == []


def test_a_clock_that_went_back_deletes_nothing() -> None:
    born = {"tomorrow": NOW_S}
    due, noted = after(0, born, {}, leap_s=-730 * DAY_S)
    assert (due, noted) == ([], {})


def test_of_what_was_made_before_the_clock_was_set_the_age_is_unknown() -> None:
    born = {"1970": 5.0, "set": CLOCK_SET_S}
    _, noted = after(0, born, {})
    due, _ = after(2, born, noted)
    assert due == ["set"]
