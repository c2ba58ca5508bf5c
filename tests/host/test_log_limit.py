"""The limit of the lines that untrusted peers can cause: one a second of each text, with the number left out."""

import logging

import pytest

from flowpi.host.log_limit import LogLimit


class Clock:
    """A clock with a lever: `now`, in seconds."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(clock: Clock, caplog: pytest.LogCaptureFixture) -> logging.Logger:
    log = logging.Logger("flood")
    log.addHandler(caplog.handler)
    log.addFilter(LogLimit(clock))
    return log


def test_the_first_line_passes_as_it_is(log: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    log.info("refused %s", "one")
    assert caplog.messages == ["refused one"]


def test_a_flood_is_one_line_a_second_which_counts_the_rest(
    log: logging.Logger, caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    for tenth in range(31):
        clock.now = 100.0 + tenth / 10
        log.info("refused %d", tenth)
    assert caplog.messages == ["refused 0", *(f"refused {tenth} (and 9 more like it)" for tenth in (10, 20, 30))]


def test_after_a_pause_nothing_is_counted(log: logging.Logger, caplog: pytest.LogCaptureFixture, clock: Clock) -> None:
    log.info("refused")
    clock.now += 1.0
    log.info("refused")
    assert caplog.messages == ["refused", "refused"]


def test_other_texts_are_not_hidden(log: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(3):
        log.info("refused %d", number)
        log.warning("full")
    assert caplog.messages == ["refused 0", "full"]


def test_a_percent_sign_in_a_counted_line_stays(
    log: logging.Logger, caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    for _ in range(2):
        log.info("at %s", "5%d")
    clock.now += 1.0
    log.info("at %s", "5%d")
    assert caplog.messages == ["at 5%d", "at 5%d (and 1 more like it)"]
