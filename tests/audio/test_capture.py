import asyncio
import itertools
import time
import tracemalloc
from typing import Any

import pytest

from flowpi.audio.alsa import AlsaSource
from flowpi.audio.capture import BRISK_S, Capture, Timing
from flowpi.audio.device import REOPEN_S
from flowpi.audio.device_state import STALL_S
from flowpi.core.errors import MicrophoneError
from flowpi.dsp.format import BYTES_PER_S, FRAME_BYTES, RATE_HZ
from tests import clock
from tests.audio.listening import missing
from tests.audio.room import PERIOD_S, SLACK_S, FakeSource, Room, begins, capturing, ends, has_no_seam, numbers
from tests.rig.microphone import Microphone
from tests.sound import beginning
from tests.waiting import ticks, until


class TestRolls:
    @pytest.mark.parametrize("held_s", [0.0, 0.04, 0.115])
    @pytest.mark.parametrize("moment", [0.993, 1.0, 1.2345])
    @pytest.mark.usefixtures("jumping_clock")
    async def test_the_recording_spans_the_press_and_the_release(self, held_s: float, moment: float) -> None:
        async with capturing(FakeSource(held_s)) as room:
            await asyncio.sleep(moment)
            entry, pressed, released = await room.record(0.777)
            assert has_no_seam(entry)
            assert pressed - 0.3 - PERIOD_S - held_s - SLACK_S <= begins(entry) <= pressed - 0.3 + SLACK_S
            assert released + 0.2 - SLACK_S <= ends(entry) <= released + 0.2 + PERIOD_S + SLACK_S
            assert entry.completed_at is not None
            assert entry.completed_at <= released + 0.2 + held_s + PERIOD_S + SLACK_S

    @pytest.mark.parametrize("late_s", [0.1, 0.5, 0.95])
    async def test_a_press_that_is_handled_late_gets_its_whole_pre_roll(self, room: Room, late_s: float) -> None:
        await asyncio.sleep(1.004)
        pressed = room.loop.time()
        room.loop.block(late_s)
        entry = room.press(pressed)
        assert pressed - 0.3 - PERIOD_S - SLACK_S <= begins(entry) <= pressed - 0.3 + SLACK_S
        assert ends(entry) >= room.loop.time() - PERIOD_S - SLACK_S

    async def test_a_release_that_is_handled_late_loses_nothing(self, room: Room) -> None:
        entry = room.press()
        await asyncio.sleep(0.5)
        released = room.loop.time()
        room.loop.block(0.5)
        room.capture.end(entry, released)
        assert entry.complete
        assert ends(entry) >= released + 0.2
        assert has_no_seam(entry)

    @pytest.mark.parametrize("held_s", [0.0, 0.04])
    @pytest.mark.usefixtures("jumping_clock")
    async def test_without_a_post_roll_at_most_a_period_is_missing(self, held_s: float) -> None:
        async with capturing(FakeSource(held_s), postroll_s=0.0) as room:
            await asyncio.sleep(1.0)
            entry, _, released = await room.record(0.505)
            assert released - PERIOD_S <= ends(entry)
            if not held_s:
                assert entry.completed_at == released

    async def test_a_press_in_the_post_roll_of_the_recording_before(self, room: Room) -> None:
        await asyncio.sleep(1.0)
        first = room.press()
        await asyncio.sleep(0.5)
        released = room.loop.time()
        room.capture.end(first, released)
        await asyncio.sleep(0.07)
        pressed = room.loop.time()
        second = room.press()
        assert not first.complete
        await asyncio.sleep(0.5)
        assert first.complete
        assert ends(first) == pytest.approx(released + 0.2, abs=PERIOD_S)
        assert begins(second) <= pressed - 0.3 + SLACK_S
        room.capture.end(second, room.loop.time())
        await second.wait_complete()
        assert has_no_seam(first)
        assert has_no_seam(second)

    async def test_just_after_the_start_there_is_what_there_is(self, room: Room) -> None:
        await asyncio.sleep(0.1)
        assert begins((await room.record(0.2))[0]) == 0.0

    async def test_an_end_counts_once_and_of_a_stranger_not_at_all(self, room: Room) -> None:
        room.capture.end(beginning(), 0.0)
        entry = room.press()
        await asyncio.sleep(0.5)
        released = room.loop.time()
        room.capture.end(entry, released)
        await asyncio.sleep(0.1)
        room.capture.end(entry, room.loop.time())
        await entry.wait_complete()
        assert ends(entry) <= released + 0.2 + PERIOD_S
        room.capture.end(entry, room.loop.time())

    async def test_dropped_it_ends_at_once(self, room: Room) -> None:
        entry, other = room.press(), room.press()
        await asyncio.sleep(0.5)
        room.capture.end(entry, room.loop.time())
        room.capture.drop(entry)
        room.capture.drop(entry)
        assert entry.complete
        assert not other.complete
        await ticks()
        assert clock.timers() == 1
        length = entry.length
        await asyncio.sleep(1.0)
        assert entry.length == length
        assert other.length > length

    async def test_closed_while_somebody_speaks_it_ends_with_what_was_heard(self, room: Room) -> None:
        entry, released = room.press(), room.press()
        await asyncio.sleep(0.505)
        room.capture.end(released, room.loop.time())
        room.capture.close()
        assert entry.complete
        assert entry.partial
        assert released.complete
        assert not released.partial
        assert ends(entry) >= room.loop.time() - PERIOD_S
        assert clock.timers() == 0
        room.capture.close()


class TestWithoutPreRoll:
    @pytest.mark.usefixtures("jumping_clock")
    async def test_it_listens_only_while_somebody_speaks(self) -> None:
        async with capturing(preroll_s=0.0) as room:
            assert not room.source.is_open
            assert clock.timers() == 0
            await asyncio.sleep(2)
            entry, pressed, released = await room.record(1.0)
            assert begins(entry) == pytest.approx(pressed, abs=SLACK_S)
            assert ends(entry) >= released + 0.2 - SLACK_S
            assert not room.source.is_open
            assert clock.timers() == 0
            assert room.capture.is_alive(room.loop.time() + 1000)
            assert room.source.opened == [0.0, pressed]
            dropped = room.press()
            room.capture.drop(dropped)
            assert not room.source.is_open

    @pytest.mark.usefixtures("jumping_clock")
    async def test_an_absent_device_is_told_at_the_start_and_found_later(self) -> None:
        source = FakeSource()
        source.unplugged = True
        async with capturing(source, preroll_s=0.0) as room:
            assert len(room.faults) == 1
            await asyncio.sleep(10)
            source.unplugged = False
            await asyncio.sleep(3)
            assert len(room.recoveries) == 1
            assert not source.is_open
            assert clock.timers() == 0

    @pytest.mark.usefixtures("jumping_clock")
    async def test_metering_opens_it_and_its_end_closes_it(self) -> None:
        async with capturing(preroll_s=0.0) as room:
            room.capture.meter(True)
            assert room.source.is_open
            await asyncio.sleep(1)
            room.capture.meter(False)
            assert not room.source.is_open
            assert clock.timers() == 0
            entry = room.press()
            room.capture.meter(True)
            room.capture.meter(False)
            assert room.source.is_open
            room.capture.drop(entry)

    @pytest.mark.usefixtures("jumping_clock")
    async def test_the_end_of_metering_before_a_lost_device_sounds_lets_it_be_opened_at_the_next_press(self) -> None:
        async with capturing(preroll_s=0.0) as room:
            room.capture.meter(True)
            await asyncio.sleep(1)
            room.source.unplugged = True
            await asyncio.sleep(1)
            opened = len(room.source.opened)
            room.source.unplugged, room.source.stalled = False, True
            while len(room.source.opened) == opened:  # noqa: ASYNC110 (it sends no event)
                await asyncio.sleep(0.1)
            room.capture.meter(False)
            assert not room.source.is_open
            assert len(room.recoveries) == 1
            room.source.stalled = False
            entry, pressed, _ = await room.record(1.0)
            assert begins(entry) == pytest.approx(pressed, abs=SLACK_S)


class TestWakeUps:
    async def test_idle(self, room: Room) -> None:
        await asyncio.sleep(60)
        assert len(room.source.reads) <= 3 * 60

    @pytest.mark.parametrize(
        ("read_s", "wanted_s", "reads"),
        [
            (0.1, (0.02,), 10),
            (0.1, (0.1,), 10),
            (0.1, (0.8,), 1 / 0.8),
            (0.1, (0.5, 1.0), 2),
            (0.1, (1.0, 0.93), 1),  # one read for two that nearly agree
            (0.5, (0.02, 1.0), 2),
            (0.1, (5.0,), 1),
            (0.1, (), 1),
        ],
    )
    @pytest.mark.usefixtures("jumping_clock")
    async def test_recording_it_is_read_when_a_reader_waits_for_no_more(
        self, read_s: float, wanted_s: tuple[float, ...], reads: float
    ) -> None:
        async def follow(step: int) -> None:
            length = 0
            while True:
                await entry.wait(length + step)
                length = entry.length

        async with capturing(FakeSource(buffer_s=2.0), read_s=read_s) as room:
            entry = room.press()
            readers = [asyncio.create_task(follow(round(one * BYTES_PER_S))) for one in wanted_s]
            await asyncio.sleep(BRISK_S)
            before = len(room.source.reads)
            await asyncio.sleep(60)
            for reader in readers:
                reader.cancel()
            assert 0.85 * reads <= (len(room.source.reads) - before) / 60 <= 1.05 * reads

    @pytest.mark.parametrize("recording", [False, True])
    @pytest.mark.usefixtures("jumping_clock")
    async def test_a_short_buffer_never_runs_over(self, recording: bool) -> None:
        async with capturing(FakeSource(buffer_s=0.25)) as room:
            if recording:
                room.press()
            await asyncio.sleep(60)
            assert room.capture.gaps == 0

    async def test_after_a_recording_it_is_idle_again(self, room: Room) -> None:
        await room.record(1.0)
        before = len(room.source.reads)
        await asyncio.sleep(60)
        assert len(room.source.reads) - before <= 3 * 60


class TestLevel:
    @pytest.mark.parametrize("read_s", [0.1, 1.0])
    @pytest.mark.parametrize("recording", [False, True])
    @pytest.mark.usefixtures("jumping_clock")
    async def test_ten_times_a_second_while_somebody_listens(self, read_s: float, recording: bool) -> None:
        async with capturing(read_s=read_s) as room:
            if recording:
                room.press()
            await asyncio.sleep(10)
            assert room.levels == []
            room.capture.meter(True)
            await asyncio.sleep(10)
            assert 80 <= len(room.levels) <= 101
            room.capture.meter(False)
            room.levels.clear()
            await asyncio.sleep(10)
            assert room.levels == []

    async def test_those_who_come_and_go_put_no_read_off(self, room: Room) -> None:
        room.press()
        room.capture.meter(True)
        before = len(room.source.reads)
        for _ in range(100):
            await asyncio.sleep(0.05)
            room.capture.meter(True)
        assert len(room.source.reads) - before >= 40

    @pytest.mark.parametrize(("on_s", "off_s"), [(0.05, 0.002), (0.05, 0.2), (0.05, 0.42), (0.09, 0.001)])
    @pytest.mark.parametrize("recording", [False, True])
    async def test_those_who_stay_for_less_than_a_read_put_none_off(
        self, room: Room, on_s: float, off_s: float, recording: bool
    ) -> None:
        if recording:
            room.press()
        for _ in range(100):
            room.capture.meter(True)
            await asyncio.sleep(on_s)
            room.capture.meter(False)
            await asyncio.sleep(off_s)
        assert room.capture.gaps == 0
        assert room.capture.is_alive(room.loop.time())


class TestGaps:
    async def test_a_gap_is_filled_and_counted(self, room: Room) -> None:
        await asyncio.sleep(1.0)
        entry = room.press()
        await asyncio.sleep(0.51)
        room.loop.block(2.0)
        await asyncio.sleep(0.5)
        room.capture.end(entry, room.loop.time())
        await entry.wait_complete()
        heard = numbers(entry)
        assert room.capture.gaps == 1
        assert entry.lost_frames == room.capture.lost_frames == pytest.approx(2 * RATE_HZ, abs=0.15 * RATE_HZ)
        wrong = [number for at, number in enumerate(heard) if number != (heard[0] + at) % 65_536]
        assert set(wrong) == {0}  # everything that was heard is at its own time
        assert len(wrong) == pytest.approx(entry.lost_frames, abs=1)
        assert room.capture.frames + room.capture.lost_frames >= len(heard)

    async def test_in_the_pre_roll_too_time_stays_true(self, room: Room) -> None:
        await asyncio.sleep(1.1)
        room.loop.block(1.5)
        await asyncio.sleep(0.2)
        pressed = room.loop.time()
        entry, *_ = await room.record(0.3)
        frames = round((pressed - (ends(entry) - entry.length / FRAME_BYTES / RATE_HZ)) * RATE_HZ)
        assert frames >= 0.3 * RATE_HZ
        assert 0 in numbers(entry)[:frames]

    async def test_a_long_gap_costs_no_memory(self, room: Room) -> None:
        tracemalloc.start()
        room.loop.block(86_400)
        await asyncio.sleep(1)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 1_000_000
        assert room.capture.lost_frames >= 86_000 * RATE_HZ


class TestLoss:
    async def test_unplugged_while_one_speaks_ends_the_recording_with_what_was_heard(self, room: Room) -> None:
        await asyncio.sleep(1)
        entry = room.press()
        await asyncio.sleep(0.55)
        room.source.unplugged = True
        await asyncio.sleep(0.6)
        assert entry.complete
        assert has_no_seam(entry)
        assert entry.partial
        assert [error.reason for error in room.faults] == ["No such device"]
        room.capture.end(entry, room.loop.time())

    @pytest.mark.usefixtures("jumping_clock")
    async def test_in_the_post_roll_it_ends_and_goes_on_with_nothing_of_later(self) -> None:
        async with capturing(postroll_s=5.0) as room:
            await asyncio.sleep(1)
            entry = room.press()
            await asyncio.sleep(0.5)
            room.capture.end(entry, room.loop.time())
            room.source.unplugged = True
            await asyncio.sleep(0.6)
            room.source.unplugged = False
            await asyncio.sleep(6)
            assert entry.complete
            assert entry.partial
            assert has_no_seam(entry)

    async def test_it_is_told_once_and_opened_again_with_growing_waits(self, room: Room) -> None:
        await asyncio.sleep(1)
        room.source.unplugged = True
        await asyncio.sleep(10)
        assert len(room.faults) == 1
        tries = room.source.opened[1:]
        waits = [after - before for before, after in itertools.pairwise(tries)]
        assert tries[0] - room.source.reads[-1] == pytest.approx(REOPEN_S[0])
        assert waits == pytest.approx([*REOPEN_S[1:], *[REOPEN_S[-1]] * (len(waits) - 2)])
        room.source.unplugged = False
        await asyncio.sleep(2.1)
        assert len(room.recoveries) == 1
        entry, _, _ = await room.record(0.3)
        assert has_no_seam(entry)
        room.source.unplugged = True
        await asyncio.sleep(1)
        assert len(room.faults) == 2

    async def test_a_press_finds_it_out(self, room: Room) -> None:
        await asyncio.sleep(1.02)
        room.source.unplugged = True
        entry = beginning()
        for _ in range(2):
            with pytest.raises(MicrophoneError, match="No such device"):
                room.capture.begin(entry, room.loop.time())
        assert len(room.faults) == 1
        assert entry.length == 0
        room.capture.end(entry, room.loop.time())
        room.capture.drop(entry)

    @pytest.mark.parametrize("recording", [False, True])
    async def test_a_device_that_stands_still_is_found_out(self, room: Room, recording: bool) -> None:
        await asyncio.sleep(1)
        entry = room.press() if recording else None
        stalled = room.loop.time()
        room.source.stalled = True
        while not room.faults:
            assert room.capture.is_alive(room.loop.time())
            await asyncio.sleep(0.05)
        assert room.loop.time() - stalled <= (STALL_S if recording else 1.5) + 0.15
        assert room.faults[0].reason == "it delivers no sound"
        assert entry is None or entry.complete

    async def test_a_device_that_opens_and_gives_nothing_is_told_once(self, room: Room) -> None:
        await asyncio.sleep(1)
        room.source.stalled = True
        await asyncio.sleep(60)
        assert len(room.faults) == 1
        assert room.recoveries == []
        assert len(room.source.opened) > 10
        with pytest.raises(MicrophoneError, match="delivers no sound"):
            room.press()
        back, room.source.stalled = room.loop.time(), False
        await asyncio.sleep(2)
        assert room.recoveries
        assert room.recoveries[0] - back <= 2
        assert room.press().length

    @pytest.mark.usefixtures("jumping_clock")
    async def test_one_that_takes_two_seconds_to_wake_up_is_waited_for(self) -> None:
        source = FakeSource()
        source.stalled = True
        async with capturing(source) as room:
            await asyncio.sleep(2)
            source.stalled = False
            await asyncio.sleep(10)
            assert room.faults == []
            assert len(source.opened) == 1

    async def test_a_capture_that_reads_no_more_is_not_alive(self, room: Room) -> None:
        await asyncio.sleep(1)
        assert room.capture.is_alive(room.loop.time())
        assert not room.capture.is_alive(room.loop.time() + 3)


class TestRealMicrophone:
    """Capture in the real ALSA library, in real time. The samples of `clock` encode when they were heard."""

    @staticmethod
    def made(source: AlsaSource, **options: Any) -> tuple[Capture, list[MicrophoneError], list[None]]:
        faults: list[MicrophoneError] = []
        recoveries: list[None] = []
        capture = Capture(
            source,
            Timing(**options),
            on_fault=faults.append,
            on_recovery=lambda: recoveries.append(None),
            on_silence=lambda silent: None,
            on_level=lambda level: None,
        )
        capture.start()
        return capture, faults, recoveries

    @staticmethod
    def ahead_s(number: int, moment: float) -> float:
        """Return how much later than `moment` a sample was heard."""
        return ((number - round(moment * RATE_HZ) + 32_768) % 65_536 - 32_768) / RATE_HZ

    async def test_pre_roll_and_post_roll(self, microphone: Microphone) -> None:
        capture, faults, _ = self.made(AlsaSource("clock"))
        await until(lambda: capture.frames >= 0.4 * RATE_HZ)
        pressed = time.monotonic()
        while time.monotonic() < pressed + 0.5:
            pass  # the loop stalls
        entry = beginning()
        capture.begin(entry, pressed)
        await entry.wait(entry.length + RATE_HZ // 5 * FRAME_BYTES)
        released = time.monotonic()
        capture.end(entry, released)
        await entry.wait_complete()
        capture.close()
        assert has_no_seam(entry)
        assert self.ahead_s(numbers(entry)[0], pressed) <= -0.3
        assert self.ahead_s(numbers(entry)[-1] + 1, released) >= 0.2
        assert not faults
        assert capture.gaps == 0

    async def test_unplugged_and_plugged_in(self, microphone: Microphone) -> None:
        capture, faults, recoveries = self.made(AlsaSource("clock"))
        entry = beginning()
        capture.begin(entry, time.monotonic())
        await until(lambda: capture.frames >= 0.2 * RATE_HZ)
        microphone.unplug()
        await until(lambda: faults)
        assert entry.complete
        microphone.plug_in()
        await until(lambda: recoveries)
        before = capture.frames
        await until(lambda: capture.frames > before)
        capture.close()
        assert len(faults) == len(recoveries) == 1

    async def test_the_parts_of_long_speech_are_one_seamless_recording(self, microphone: Microphone) -> None:
        capture, _, _ = self.made(AlsaSource("clock"), read_s=0.02)
        await until(lambda: capture.frames >= 0.2 * RATE_HZ)
        parts = [beginning()]
        capture.begin(parts[0], time.monotonic())

        def ask_for_next() -> None:
            following = beginning()

            def on_next() -> None:
                parts.append(following)
                ask_for_next()

            capture.continue_in(parts[-1], following, time.monotonic() + 0.1, on_next)

        ask_for_next()
        await until(lambda: len(parts) == 10)
        capture.end(parts[-1], time.monotonic())
        await parts[-1].wait_complete()
        capture.close()
        whole = b"".join(part.read(0, part.length) for part in parts)
        assert missing(whole) == []
        assert all(part.complete and not part.partial for part in parts)

    async def test_what_a_resampler_holds_back_is_waited_for(self, microphone: Microphone) -> None:
        source = AlsaSource("usb48", rate_hz=48_000, channels=2)
        capture, _, _ = self.made(source)
        assert 0 < source.held_s < 0.1
        await until(lambda: capture.frames >= 0.2 * RATE_HZ)
        entry = beginning()
        pressed = time.monotonic()
        capture.begin(entry, pressed)
        held = entry.length
        await entry.wait(held + RATE_HZ // 10 * FRAME_BYTES)
        released = time.monotonic()
        capture.end(entry, released)
        await entry.wait_complete()
        assert entry.completed_at is not None
        assert entry.completed_at - released >= 0.2 + source.held_s
        capture.close()
        assert source.held_s == 0.0
