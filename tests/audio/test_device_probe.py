import asyncio
import threading
from collections.abc import Iterator

import pytest

from flowpi.audio.device_probe import DeviceProbe
from tests.waiting import PATIENCE_S, until


class Driver:
    """A driver whose attempt ends when `answers` is set, with `error` if there is one."""

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
    told: list[DeviceProbe] = []
    threads: list[threading.Thread] = []

    def on_end(probe: DeviceProbe) -> None:
        threads.append(threading.current_thread())
        told.append(probe)

    began = asyncio.get_running_loop().time()
    probe = DeviceProbe(driver.attempt)
    assert probe.since >= began
    probe.call_back(on_end)
    assert not told
    driver.error = OSError("busy")
    driver.answers.set()
    await until(lambda: told)
    assert told == [probe]
    assert probe.error is driver.error
    assert threads == [threading.main_thread()]


async def test_one_that_ends_in_time_is_not_told_twice(driver: Driver) -> None:
    told: list[DeviceProbe] = []
    driver.answers.set()
    first = DeviceProbe(driver.attempt)
    assert first.wait(PATIENCE_S)
    assert first.error is None
    second = DeviceProbe(driver.attempt)
    second.call_back(told.append)
    await until(lambda: told)
    assert told == [second]


async def test_one_that_does_not_end_in_time_is_told_later(driver: Driver) -> None:
    told: list[DeviceProbe] = []
    probe = DeviceProbe(driver.attempt)
    assert not probe.wait(0.01)
    probe.call_back(told.append)
    assert not told
    driver.answers.set()
    await until(lambda: told)
    assert told == [probe]
