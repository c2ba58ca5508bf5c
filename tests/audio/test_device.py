"""What a capture's device does between its loss and the next sound."""

import asyncio
import itertools

from flowpi.audio.device import Device
from flowpi.core.errors import MicrophoneError
from tests.audio.room import FakeSource, Room, begins, has_no_seam
from tests.waiting import PATIENCE_S, until


async def back_but_silent(room: Room) -> None:
    """Unplug the microphone of `room`, plug it in so that it opens but gives nothing, and wait until it is open."""
    await asyncio.sleep(1)
    room.source.unplugged = True
    await asyncio.sleep(0.6)
    room.source.unplugged, room.source.stalled = False, True
    while not room.source.is_open:  # noqa: ASYNC110 (it sends no event)
        await asyncio.sleep(0.01)


async def test_the_pre_roll_has_nothing_from_before_the_loss(room: Room) -> None:
    await back_but_silent(room)
    room.source.stalled = False
    opened = room.source.opened[-1]
    while not room.recoveries:  # noqa: ASYNC110 (it sends no event)
        await asyncio.sleep(0.01)
    entry = room.press()
    await asyncio.sleep(0.5)
    room.capture.end(entry, room.loop.time())
    await entry.wait_complete()
    assert has_no_seam(entry)
    assert begins(entry) >= opened


async def test_the_first_sound_is_looked_for_ten_times_a_second(room: Room) -> None:
    await back_but_silent(room)
    before = len(room.source.reads)
    await asyncio.sleep(1)
    assert all(later - earlier < 0.15 for earlier, later in itertools.pairwise(room.source.reads[before:]))
    assert len(room.source.reads) - before >= 8


async def test_closed_before_the_first_sound_the_fault_is_over_with_the_sound_after_the_start(room: Room) -> None:
    await back_but_silent(room)
    room.capture.close()
    room.source.stalled = False
    await asyncio.sleep(1)
    room.capture.start()
    assert room.recoveries == []
    await asyncio.sleep(1)
    assert len(room.faults) == len(room.recoveries) == 1


class ExclusiveSource(FakeSource):
    """A microphone that can be opened only once at a time, so that a probe of one that is dead finds it busy."""

    trials = 0

    def __init__(self) -> None:
        super().__init__()
        self.trial = self._try

    def _try(self) -> None:
        self.trials += 1
        if self.is_open:
            raise MicrophoneError(self.name, "Device or resource busy")


async def test_a_dead_device_that_is_busy_by_this_very_program_is_opened_anew() -> None:
    source, faults, stops = ExclusiveSource(), list[MicrophoneError](), list[None]()
    opened = asyncio.Event()
    device = Device(
        source,
        on_open=opened.set,
        on_stop=lambda: stops.append(None),
        on_fault=faults.append,
        on_recovery=lambda: None,
        on_silence=lambda silent: None,
    )
    now = asyncio.get_running_loop().time

    def lost() -> bool:
        device.read(now())
        return bool(stops)

    device.start()
    assert opened.is_set()
    opened.clear()
    await until(lambda: device.read(now()))
    source.stalled = True
    await until(lost)
    assert source.is_open
    async with asyncio.timeout(PATIENCE_S):
        await opened.wait()
    assert source.trials == 2
    assert len(source.opened) == 2
    assert [fault.reason for fault in faults] == ["it delivers no sound"]
    device.close()
    assert not source.is_open
