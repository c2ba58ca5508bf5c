"""The end of the daemon while somebody speaks: what was said up to then is in the utterance."""

import asyncio

import pytest

from tests.audio.room import PERIOD_S, SLACK_S, FakeSource, Room, ends, has_no_seam, stage


@pytest.mark.parametrize("held_s", [0.0, 0.04])
@pytest.mark.parametrize("released", [False, True])
def test_the_last_words_before_it_are_heard(released: bool, held_s: float) -> None:
    """Between two reads: that at 0.5 s is the last one but for the one of the end."""

    async def scene(room: Room) -> None:
        entry = room.press()
        await asyncio.sleep(0.585)
        before = len(room.source.reads)
        if released:
            room.capture.end(entry, room.loop.time())
        assert len(room.source.reads) == before
        assert ends(entry) <= 0.5 + SLACK_S
        room.capture.close()
        assert entry.complete
        assert entry.partial is not released
        assert ends(entry) >= 0.585 - PERIOD_S - held_s - SLACK_S
        assert has_no_seam(entry)

    stage(scene, FakeSource(held_s))


def test_a_microphone_that_is_gone_by_then_holds_up_nothing() -> None:
    async def scene(room: Room) -> None:
        entry = room.press()
        await asyncio.sleep(0.585)
        room.source.unplugged = True
        room.capture.close()
        assert (entry.complete, entry.partial) == (True, True)
        assert ends(entry) >= 0.5 - PERIOD_S - SLACK_S
        opened = len(room.source.opened)
        await asyncio.sleep(10)
        assert len(room.source.opened) == opened

    stage(scene)
