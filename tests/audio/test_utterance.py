import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowpi.audio.utterance import PartId
from flowpi.dsp.format import BYTES_PER_S, FRAME_BYTES
from tests.sound import beginning, noise, spoken, ulid
from tests.waiting import ticks

pieces = st.lists(st.integers(0, 40).map(lambda frames: 2 * frames), max_size=12)


@given(pieces, st.lists(st.integers(1, 90), min_size=1, max_size=4), st.integers(0, 12))
def test_every_reader_gets_every_byte_from_the_first(sizes: list[int], chunks: list[int], late: int) -> None:
    """Every reader gets the whole audio, however it arrives, and however and whenever it is read."""

    async def read_all(chunk: int) -> bytes:
        read = b""
        while not utterance.complete or len(read) < utterance.length:
            await utterance.wait(len(read) + chunk)
            read += utterance.read(len(read), len(read) + chunk)
        return read

    async def main() -> list[bytes]:
        readers = [asyncio.create_task(read_all(chunk)) for chunk in chunks]
        for number, size in enumerate(sizes):
            if number == late:
                readers.append(asyncio.create_task(read_all(7)))
            utterance.append(spoken_bytes[:size])
            spoken_so_far.append(spoken_bytes[:size])
            await asyncio.sleep(0)
        utterance.finish(1.0)
        return await asyncio.gather(*readers)

    utterance, spoken_bytes = beginning(), noise(0.01)
    spoken_so_far: list[bytes] = []
    assert set(asyncio.run(main())) == {b"".join(spoken_so_far)}


async def test_wait_ends_with_the_length_and_not_before() -> None:
    utterance = beginning()
    waiting = asyncio.create_task(utterance.wait(6))
    utterance.append(b"abcd")
    await ticks()
    assert not waiting.done()
    utterance.append(b"ef")
    await ticks()
    assert waiting.done()


async def test_the_end_ends_every_wait() -> None:
    utterance = beginning()
    waiting = [asyncio.create_task(utterance.wait(size)) for size in (2, 1000)]
    waiting.append(asyncio.create_task(utterance.wait_complete()))
    await ticks()
    assert not any(task.done() for task in waiting)
    utterance.finish(7.0)
    await asyncio.gather(*waiting)
    assert utterance.completed_at == 7.0


async def test_what_is_there_needs_no_wait() -> None:
    await spoken(b"ab").wait(1000)
    await spoken(b"ab").wait_complete()
    utterance = beginning()
    utterance.append(b"ab")
    await utterance.wait(2)


async def test_a_cancelled_wait_hurts_nobody() -> None:
    utterance = beginning()
    cancelled, other = (asyncio.create_task(utterance.wait(2)) for _ in range(2))
    await ticks()
    cancelled.cancel()
    utterance.append(b"ab")
    await other
    await asyncio.gather(cancelled, return_exceptions=True)
    utterance.finish(1.0)
    assert cancelled.cancelled()


async def test_finish_counts_once() -> None:
    utterance = beginning()
    utterance.finish(1.0)
    utterance.finish(2.0)
    assert utterance.completed_at == 1.0


def test_nothing_comes_after_the_end() -> None:
    with pytest.raises(AssertionError):
        spoken(b"").append(b"ab")


def test_a_gap_is_silence_of_its_length_and_is_counted() -> None:
    utterance = beginning()
    utterance.append(b"ab")
    utterance.append_gap(3)
    utterance.append(b"cd")
    assert utterance.read(0, 100) == b"ab" + bytes(3 * FRAME_BYTES) + b"cd"
    assert utterance.lost_frames == 3


def test_what_was_read_does_not_change() -> None:
    utterance = beginning()
    utterance.append(b"ab")
    read = utterance.read(0, 100)
    utterance.append(b"cd")
    assert read == b"ab"
    assert utterance.read(1, 3) == b"bc"


def test_duration() -> None:
    assert spoken(bytes(BYTES_PER_S // 2)).duration_s == 0.5


@pytest.mark.parametrize("frame", [b"\0\0", b"\x34\xff"])
def test_a_second_of_one_sample_is_silent(frame: bytes) -> None:
    second = frame * (BYTES_PER_S // 2)
    assert spoken(second).silent
    assert not spoken(second[2:]).silent
    assert not spoken(second + b"\1\0").silent
    assert not spoken(b"\1\0" + second).silent
    assert not beginning().silent


class TestPartId:
    def test_they_sort_in_the_order_of_speech(self) -> None:
        parts = [PartId(ulid(1)), PartId(ulid(1), 2), PartId(ulid(1), 10), PartId(ulid(2))]
        assert sorted([parts[2], parts[0], parts[3], parts[1]]) == parts

    @pytest.mark.parametrize("part", [PartId(ulid(1)), PartId(ulid(1), 2), PartId(ulid(1), 1234)])
    def test_from_its_name_and_back(self, part: PartId) -> None:
        assert PartId.parse(str(part)) == part

    @pytest.mark.parametrize("end", [".1", ".02", ".", ".-2", ".x", ".2.3", ".12345", "0", ".²"])
    def test_no_other_name_is_one(self, end: str) -> None:
        assert PartId.parse(ulid(1) + end) is None
