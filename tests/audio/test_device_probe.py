import asyncio
import threading
from collections.abc import Iterator

import pytest

from flowpi.audio.device_probe import DeviceProbe, Ended
from tests.waiting import PATIENCE_S, until


class Driver:
    """`answers`: set it, and the attempt ends, with `error` if there is one."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.error: Exception | None = None

    def attempt(self) -> None:
        assert threading.current_thread() is not threading.main_thread()
        self.answers.wait(PATIENCE_S)
        if self.error is not None:
            raise self.error


@pytest.fixture
def driver() -> Iterator[Driver]:
    driver = Driver()
    yield driver
    driver.answers.set()


async def test_the_end_is_told_on_the_loop(driver: Driver) -> None:
    told: list[Ended] = []
    threads: list[threading.Thread] = []

    def on_end(ended: Ended) -> None:
        assert trials.since is None
        threads.append(threading.current_thread())
        told.append(ended)

    trials = DeviceProbe(on_end)
    assert trials.since is None
    began = asyncio.get_running_loop().time()
    assert trials.begin(driver.attempt) is None
    assert trials.since is not None
    assert trials.since >= began
    driver.error = OSError("busy")
    driver.answers.set()
    await until(lambda: told)
    assert told[0].exception() is driver.error
    assert threads == [threading.main_thread()]


async def test_one_that_ends_in_time_is_not_told_twice(driver: Driver) -> None:
    told: list[Ended] = []
    trials = DeviceProbe(told.append)
    driver.answers.set()
    ended = trials.begin(driver.attempt, within_s=PATIENCE_S)
    assert ended is not None
    assert ended.exception() is None
    assert trials.since is None
    assert trials.begin(driver.attempt) is None
    await until(lambda: told)
    assert len(told) == 1
    assert told[0] is not ended


async def test_one_that_does_not_end_in_time_is_told_later(driver: Driver) -> None:
    told: list[Ended] = []
    trials = DeviceProbe(told.append)
    assert trials.begin(driver.attempt, within_s=0.01) is None
    assert trials.since is not None
    driver.answers.set()
    await until(lambda: told)
    assert trials.since is None
