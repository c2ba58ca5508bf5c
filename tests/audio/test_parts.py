"""Recordings that continue in a next part, on a jumping clock. The saw tooth of the fake microphone has pauses."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowpi.audio.utterance import Utterance
from tests import clock
from tests.audio.room import (
    PERIOD_S,
    SLACK_S,
    TURN_S,
    FakeSource,
    Room,
    begins,
    capturing,
    ends,
    has_no_seam,
    numbers,
)
from tests.sound import beginning
from tests.waiting import ticks

NEAR_S = 0.25
"""How close to a multiple of `TURN_S` the saw tooth counts as a pause."""


class Parts:
    """The parts of one recording."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.all = [room.press()]
        self.begun: list[float] = []

    @property
    def last(self) -> Utterance:
        return self.all[-1]

    def ask_for_next(self, until: float) -> Utterance:
        """Ask for a next part and return it. `all` and `begun` list it once it has begun."""
        following, before = beginning(), self.last

        def on_next() -> None:
            assert before.complete
            assert before.completed_at == self.room.loop.time()
            self.all.append(following)
            self.begun.append(self.room.loop.time())

        self.room.capture.continue_in(before, following, until, on_next)
        return following

    def joined(self) -> Utterance:
        """Join all parts into one recording. None of them may be partial."""
        whole = beginning()
        for part in self.all:
            assert not part.partial
            whole.append(part.read(0, part.length))
        return whole


async def test_it_is_cut_in_the_first_pause(room: Room) -> None:
    await asyncio.sleep(1)
    parts = Parts(room)
    await asyncio.sleep(0.5)
    parts.ask_for_next(until=20)
    await asyncio.sleep(7)
    assert len(parts.begun) == 1
    assert abs(ends(parts.all[0]) - TURN_S) <= NEAR_S
    room.capture.end(parts.last, room.loop.time())
    await parts.last.wait_complete()
    assert has_no_seam(parts.joined())
    assert numbers(parts.joined())[-1] == numbers(parts.last)[-1]


@pytest.mark.parametrize("held_s", [0.0, 0.04])
@pytest.mark.usefixtures("jumping_clock")
async def test_without_a_pause_it_is_cut_at_the_latest_moment(held_s: float) -> None:
    async with capturing(FakeSource(held_s)) as room:
        await asyncio.sleep(1)
        parts = Parts(room)
        await asyncio.sleep(0.5)
        parts.ask_for_next(until=3.0)
        await asyncio.sleep(2)
        assert 3.0 - SLACK_S <= ends(parts.all[0]) <= 3.0 + PERIOD_S + SLACK_S
        assert begins(parts.last) == ends(parts.all[0])


async def test_a_long_speech_has_many_parts_and_no_seam(room: Room) -> None:
    await asyncio.sleep(1)
    parts = Parts(room)
    for _ in range(20):
        parts.ask_for_next(until=room.loop.time() + 3)
        await asyncio.sleep(3.1)
    assert len(parts.begun) == 20
    room.capture.end(parts.last, room.loop.time())
    await parts.last.wait_complete()
    assert has_no_seam(parts.joined())
    assert all(part.complete for part in parts.all)


async def test_released_before_the_cut_no_next_part_begins(room: Room) -> None:
    parts = Parts(room)
    await asyncio.sleep(0.5)
    following = parts.ask_for_next(until=0.6)
    room.capture.end(parts.last, room.loop.time())
    await parts.last.wait_complete()
    await ticks()  # a read may be due now
    assert clock.timers() == 1
    await asyncio.sleep(10)
    assert parts.begun == []
    assert following.length == 0
    assert not following.complete
    assert not parts.last.partial
    parts.ask_for_next(until=room.loop.time())  # too late
    await asyncio.sleep(10)
    assert parts.begun == []


async def test_a_release_comes_before_a_cut_that_is_asked_for_in_the_post_roll(room: Room) -> None:
    parts = Parts(room)
    await asyncio.sleep(0.5)
    room.capture.end(parts.last, room.loop.time())
    parts.ask_for_next(until=room.loop.time() + 0.05)
    await asyncio.sleep(1)
    assert parts.begun == []
    assert parts.last.complete


async def test_asked_twice_the_second_counts(room: Room) -> None:
    await asyncio.sleep(1)
    parts = Parts(room)
    first = parts.ask_for_next(until=1.5)
    second = parts.ask_for_next(until=2.0)
    await asyncio.sleep(2)
    assert parts.all[1:] == [second]
    assert first.length == 0


@pytest.mark.usefixtures("jumping_clock")
async def test_a_next_part_that_is_released_as_it_begins() -> None:
    async with capturing(postroll_s=0.0) as room:
        await asyncio.sleep(1)
        entry, following = room.press(), beginning()
        room.capture.continue_in(entry, following, 2.0, lambda: room.capture.end(following, room.loop.time()))
        await asyncio.sleep(2)
        assert entry.complete
        assert following.complete
        assert following.length == 0
        await ticks()
        assert clock.timers() == 1


@given(
    asked=st.floats(0, 3),
    ahead=st.floats(0, 3),
    acted=st.floats(0, 5),
    act=st.sampled_from(["end", "drop", "unplug", "close"]),
    postroll_s=st.sampled_from([0.0, 0.2]),
)
def test_in_every_order_no_sound_is_lost_and_no_part_hangs(
    asked: float, ahead: float, acted: float, act: str, postroll_s: float
) -> None:
    async def main() -> None:
        async with capturing(postroll_s=postroll_s) as room:
            await asyncio.sleep(0.7)
            parts = Parts(room)

            async def ask() -> None:
                await asyncio.sleep(asked)
                parts.ask_for_next(room.loop.time() + ahead)

            async def end() -> None:
                await asyncio.sleep(acted)
                match act:
                    case "end":
                        room.capture.end(parts.last, room.loop.time())
                    case "drop":
                        room.capture.drop(parts.last)
                    case "unplug":
                        room.source.unplugged = True
                    case "close":
                        room.capture.close()

            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(ask())
                tasks.create_task(end())
            await asyncio.sleep(5)
            assert all(part.complete for part in parts.all)
            assert [part.partial for part in parts.all[:-1]] == [False] * len(parts.begun)
            assert parts.last.partial == (act in ("unplug", "close"))
            whole = [number for part in parts.all for number in numbers(part)]
            assert whole == [(whole[0] + n) % 65_536 for n in range(len(whole))]
            assert len(parts.begun) <= 1

    clock.run(main())
