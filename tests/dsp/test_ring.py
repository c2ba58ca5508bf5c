from hypothesis import given
from hypothesis import strategies as st

from flowpi.dsp.ring import Ring

chunks = st.lists(st.integers(0, 50).map(lambda frames: 2 * frames), max_size=30)


@given(st.integers(0, 100), st.integers(0, 120), chunks)
def test_it_gives_exactly_the_newest_frames(frames: int, wanted: int, sizes: list[int]) -> None:
    ring, pushed = Ring(frames), b""
    for number, size in enumerate(sizes):
        chunk = bytes([number]) * size
        ring.push(chunk)
        pushed += chunk
    assert ring.newest(wanted) == pushed[max(0, len(pushed) - 2 * min(frames, wanted)) :]


@given(chunks)
def test_it_keeps_no_chunk_that_it_could_do_without(sizes: list[int]) -> None:
    ring, frames = Ring(100), 0
    for size in sizes:
        ring.push(bytes(size))
        frames = max(frames, ring.frames)
    assert frames <= 100 + 50


def test_clear_forgets_everything() -> None:
    ring = Ring(10)
    ring.push(b"ab")
    ring.clear()
    assert ring.newest(10) == b""
