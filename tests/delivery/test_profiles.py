"""Utterances whose profiles have other backends: one that is silent holds up no profile that does without it."""

from pathlib import Path

import pytest

from flowpi.audio.utterance import About, Utterance
from flowpi.backends.flow import FlowBackend
from flowpi.backends.patience import Patience
from flowpi.config.backends.flow import FlowSettings
from flowpi.core.hints import Hints
from flowpi.delivery.backlog import MAX_STRIKES
from flowpi.delivery.delivery import Delivery
from flowpi.spool.spool import Spool
from tests.backends.fake_backend import FakeBackend, is_mute_after_commit
from tests.delivery.test_delivery import SOUND, DeliveryHarness, make_backend, speak
from tests.sound import ulid
from tests.waiting import until

OWN = {None: ["away"], "german": ["house"], "both": ["away", "house"]}


@pytest.fixture
def harness(tmp_path: Path) -> DeliveryHarness:
    return DeliveryHarness(tmp_path / "spool")


async def spooled(harness: DeliveryHarness, **profiles: str | None) -> None:
    """Put an utterance into the spool for each name, oldest first, as an earlier run left them."""
    spool = Spool(harness.directory)
    spool.open()
    for number, profile in enumerate(profiles.values(), 1):
        about = About(ulid(number), 1_700_000_000.0, profile=profile)
        await spool.keep(Utterance(about, pcm=bytearray(SOUND), complete=True))
    spool.close()


def reasons(delivery: Delivery) -> dict[str, int]:
    return {one.part.utterance: one.attempts for one in delivery.waiting()}


async def test_what_an_earlier_run_left_for_a_silent_backend_does_not_hold_up_the_rest(
    harness: DeliveryHarness, unused_tcp_port: int
) -> None:
    await spooled(harness, a=None, b=None, c="german", d="both", e="gone")
    async with FakeBackend() as service:
        away = make_backend(f"ws://127.0.0.1:{unused_tcp_port}/ws", "away")
        house = make_backend(service.url)
        async with harness.life(away, house, by_profile=OWN, pause_s=3600) as delivery:
            await harness.audience.hears("delivered", ulid(3))
            await harness.audience.hears("delivered", ulid(4))
            assert ("late", ulid(4), "house") in harness.audience.said
            await until(lambda: set(reasons(delivery)) == {ulid(1), ulid(2), ulid(5)})
    assert len(service.calls) == 2


async def test_what_was_just_said_does_not_either(harness: DeliveryHarness, unused_tcp_port: int) -> None:
    async with FakeBackend() as service:
        away = make_backend(f"ws://127.0.0.1:{unused_tcp_port}/ws", "away")
        async with harness.life(away, make_backend(service.url), by_profile=OWN, pause_s=3600) as delivery:
            speak(delivery)
            await harness.audience.until(lambda: delivery.spooled == 1)
            assert len(service.calls) == 0  # it is not asked for that one


async def test_texts_of_another_backend_park_nothing(harness: DeliveryHarness) -> None:
    """A backend that sends no text to anyone has not refused an utterance because another one gives texts."""
    async with FakeBackend([is_mute_after_commit]) as mute, FakeBackend() as works:
        away = FlowBackend("away", FlowSettings(mute.url), Hints(), Patience(final_s=0.1))
        async with harness.life(away, make_backend(works.url), by_profile=OWN) as delivery:
            speak(delivery)
            for number in range(2, MAX_STRIKES + 4):
                tried = harness.audience.of(ulid(1)).count("deferred again")
                utterance = Utterance(About(ulid(number), 1_700_000_000.0, profile="german"))
                delivery.begin(utterance)
                utterance.append(SOUND)
                utterance.finish(0.0)
                await harness.audience.hears("delivered", utterance.id)
                await harness.audience.until(
                    lambda tried=tried: harness.audience.of(ulid(1)).count("deferred again") > tried  # type: ignore[misc]
                )
            (waiting,) = delivery.waiting()
            assert not waiting.parked


async def test_a_choice_that_comes_back_to_the_first_one_at_once_loses_nothing(harness: DeliveryHarness) -> None:
    """On a busy machine all edges of a gesture may be handled in one turn of the loop."""
    async with FakeBackend() as service, harness.life(make_backend(service.url)) as delivery:
        utterance = Utterance(About(ulid(1), 1_700_000_000.0, profile="german"), choosing=True)
        delivery.begin(utterance)
        utterance.append(SOUND)
        await until(lambda: service.calls)
        for profile, choosing in ("code", True), ("german", False):
            utterance.choose(profile, choosing=choosing)
            delivery.begin_again(utterance)
        utterance.finish(0.0)
        await harness.audience.hears("delivered", ulid(1))
        assert harness.audience.of(ulid(1)) == ["text", "delivered"]
