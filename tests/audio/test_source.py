"""The contract of `flowpi.audio.source`, for each driver."""

import time
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from flowpi.audio.alsa import AlsaSource
from flowpi.audio.source import Source
from flowpi.audio.wav import WavSource
from flowpi.core.errors import MicrophoneError
from flowpi.dsp.format import FRAME_BYTES, RATE_HZ
from tests.audio.listening import gaps, length, listen, missing, read_once, sound, wait_until
from tests.rig.microphone import Microphone
from tests.waiting import wait_for

PERIOD = RATE_HZ // 50


@dataclass
class Bench:
    """A source whose samples count up by one each frame, with levers that remove its device and bring it back."""

    source: Source
    unplug: Callable[[], object]
    plug_in: Callable[[], object]


@pytest.fixture(params=["alsa", "wav"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    if request.param == "alsa":
        microphone: Microphone = request.getfixturevalue("microphone")
        return Bench(AlsaSource("clock"), microphone.unplug, microphone.plug_in)
    path, elsewhere = tmp_path / "ramp.wav", tmp_path / "elsewhere.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, FRAME_BYTES, RATE_HZ, 0, "NONE", ""))
        file.writeframes(b"".join((n % 65_536).to_bytes(2, "little") for n in range(5 * RATE_HZ)))
    return Bench(WavSource(path), lambda: path.rename(elsewhere), lambda: elsewhere.rename(path))


@pytest.fixture
def source(bench: Bench) -> Source:
    bench.source.open(time.monotonic())
    return bench.source


@pytest.fixture(autouse=True)
def closed_at_the_end(bench: Bench) -> Iterator[None]:
    yield
    bench.source.close()


def test_every_frame_comes_once_and_in_order(source: Source) -> None:
    heard = listen(source, 15 * PERIOD)
    assert gaps(heard) == []
    assert missing(sound(heard)) == []


def test_it_keeps_real_time(source: Source) -> None:
    _, since, begun = read_once(source)
    heard = listen(source, 25 * PERIOD)
    last, ended, until = read_once(source)
    frames = length(heard + last)
    assert (ended - begun) * RATE_HZ - 2 * PERIOD <= frames <= (until - since) * RATE_HZ + 2 * PERIOD


def test_a_read_does_not_wait(source: Source) -> None:
    listen(source, PERIOD)
    # One that waited for a period would find one each time. A busy machine may let a period come between two reads.
    wait_for(lambda: source.read(time.monotonic()) == [], "each read finds something")


def test_a_second_read_at_once_finds_nothing(source: Source) -> None:
    listen(source, PERIOD)
    in_time = False
    while not in_time:  # a machine that is busy in between may let the next period come
        wait_until(source.due(time.monotonic()))
        now = time.monotonic()
        first, second = source.read(now), source.read(now)
        in_time = time.monotonic() - now < source.period_s / 2
    assert length(first) >= PERIOD
    assert second == []


def test_a_read_when_due_finds_a_period(source: Source) -> None:
    """Once the source has learned from a read that was not late when a period ends."""

    def finds_one() -> bool:
        wait_until(source.due(time.monotonic()))
        return length(source.read(time.monotonic())) >= PERIOD

    listen(source, PERIOD)
    wait_for(lambda: all(finds_one() for _ in range(10)), "there are not ten in a row that find one")


@pytest.mark.parametrize("ahead_s", [0.0, 0.0123, 0.1, 1.0])
def test_due_is_the_next_edge_not_before_the_moment_asked_for(source: Source, ahead_s: float) -> None:
    listen(source, PERIOD)
    after = time.monotonic() + ahead_s
    assert after <= source.due(after) <= after + source.period_s + 0.004  # a read is due a little after the edge


def test_due_is_always_an_edge_of_a_period(source: Source) -> None:
    listen(source, PERIOD)
    now = time.monotonic()
    periods = (source.due(now + 0.5) - source.due(now)) / source.period_s
    assert periods == pytest.approx(round(periods), abs=1e-6)


def test_half_a_second_without_a_read_loses_nothing(source: Source) -> None:
    heard = listen(source, 5 * PERIOD)
    wait_until(time.monotonic() + 0.5)
    late = source.read(time.monotonic())
    assert length(late) >= 24 * PERIOD
    heard += late
    heard += listen(source, 5 * PERIOD)
    assert gaps(heard) == []
    assert missing(sound(heard)) == []


def test_closed_it_cannot_be_read_and_close_is_harmless(source: Source) -> None:
    source.close()
    source.close()
    with pytest.raises(MicrophoneError):
        source.read(time.monotonic())
    assert source.due(7.0) >= 7.0
    assert source.period_s > 0


def test_opened_again_it_begins_afresh(source: Source) -> None:
    listen(source, 5 * PERIOD)
    source.close()
    wait_until(time.monotonic() + 0.1)
    opened = time.monotonic()
    source.open(opened)
    heard, _, read = read_once(source)
    assert length(heard) <= (read - opened) * RATE_HZ + PERIOD  # nothing from the time while it was closed
    heard += listen(source, 5 * PERIOD)
    assert gaps(heard) == []
    assert missing(sound(heard)) == []


def test_opening_an_absent_device_says_which_and_what_to_do(bench: Bench) -> None:
    bench.unplug()
    with pytest.raises(MicrophoneError) as caught:
        bench.source.open(time.monotonic())
    assert caught.value.device == bench.source.name
    assert caught.value.reason
    assert caught.value.hint
    with pytest.raises(MicrophoneError):
        bench.source.read(time.monotonic())


def test_after_it_was_absent_it_opens(bench: Bench) -> None:
    bench.unplug()
    with pytest.raises(MicrophoneError):
        bench.source.open(time.monotonic())
    bench.plug_in()
    bench.source.open(time.monotonic())
    assert missing(sound(listen(bench.source, 5 * PERIOD))) == []
