"""A microphone that is too quiet for the recogniser, on a jumping clock; and the gain that mends it."""

import asyncio
import audioop

import pytest

from flowpi.audio.alsa import AlsaSource
from flowpi.audio.capture import Timing
from flowpi.audio.gain import Amplified
from flowpi.audio.source import Gap, Heard
from flowpi.audio.sources import make_source
from flowpi.config.schema import AudioSettings, Config
from tests.audio.room import FakeSource, Room
from tests.audio.variants import reference
from tests.sound import beginning


def softened(gain_db: float) -> bytes:
    return audioop.mul(reference(), 2, 10 ** (gain_db / 20))


async def test_a_dictation_that_is_too_quiet_is_told_when_it_ends(room: Room) -> None:
    room.source.speech = softened(-40)
    await room.record(4)
    assert room.quiets == [True]
    room.source.speech = softened(-15)
    await room.record(4)
    assert room.quiets == [True, False]


@pytest.mark.parametrize("constant", [0, 7])
async def test_of_a_dictation_without_speech_nothing_is_told(room: Room, constant: int) -> None:
    room.source.constant = constant
    await room.record(4)
    assert room.quiets == []


async def test_a_dictation_of_several_parts_is_judged_as_one(room: Room) -> None:
    room.source.speech = softened(-40)
    first, second = room.press(), beginning()
    room.capture.continue_in(first, second, room.loop.time() + 2, lambda: None)
    await first.wait_complete()
    assert room.quiets == []
    await asyncio.sleep(1)
    room.capture.end(second, room.loop.time())
    await second.wait_complete()
    assert room.quiets == [True]


@pytest.mark.parametrize(("gain_db", "quiet"), [(0, True), (20, False), (40, False)])
async def test_a_gain_makes_it_loud_enough(room: Room, gain_db: float, quiet: bool) -> None:
    room.source.speech = softened(-40)
    room.capture.replace(Amplified(room.source, gain_db), Timing())
    await room.record(4)
    assert room.quiets == [quiet]


class Fixed(FakeSource):
    """A source that hears what it was given, at once."""

    def __init__(self, *heard: Heard) -> None:
        super().__init__()
        self.heard = list(heard)

    def read(self, now: float) -> list[Heard]:
        return self.heard


def test_a_gain_saturates_and_passes_gaps_on() -> None:
    loud = b"".join(n.to_bytes(2, "little", signed=True) for n in (100, -100, 20_000, -20_000))
    first, gap = Amplified(Fixed(loud, Gap(5)), 20).read(0.0)
    assert isinstance(first, bytes)
    assert memoryview(first).cast("h").tolist() == [1000, -1000, 32_767, -32_768]
    assert gap == Gap(5)
    (softer,) = Amplified(Fixed(loud), -20).read(0.0)
    assert isinstance(softer, bytes)
    assert memoryview(softer).cast("h").tolist() == [10, -10, 2000, -2000]


def test_an_amplified_source_is_otherwise_the_same() -> None:
    source = FakeSource(held_s=0.1)
    louder = Amplified(source, 6)
    for name in ("name", "period_s", "held_s", "buffer_s", "has_noise", "trial"):
        assert getattr(louder, name) == getattr(source, name)
    louder.open(0.0)
    assert source.is_open
    assert louder.due(1.01) == source.due(1.01)
    louder.close()
    assert not source.is_open


@pytest.mark.parametrize("kind", ["alsa", "wav"])
def test_the_setting_concerns_every_kind_of_source(kind: str) -> None:
    settings = {"source": kind, "path": "speech.wav"}
    assert isinstance(make_source(Config(audio=AudioSettings(**settings, gain_db=12))), Amplified)  # type: ignore[arg-type]
    plain = make_source(Config(audio=AudioSettings(**settings)))  # type: ignore[arg-type]
    assert isinstance(plain, AlsaSource) is (kind == "alsa")
    assert not isinstance(plain, Amplified)
