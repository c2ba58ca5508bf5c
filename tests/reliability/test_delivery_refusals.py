"""Promises P21 and P22: what a backend may do to a dictation at any packet, and how often it is asked."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from flowpi.backends.chain import BackendChain
from flowpi.backends.flow import FlowBackend
from flowpi.backends.patience import Patience
from flowpi.config.backends.flow import FlowSettings, TokenSettings
from flowpi.config.secret import Secret
from flowpi.core.errors import BackendError, ClosedError, HttpError, LinkError
from flowpi.core.failover import Verdict, verdict
from flowpi.core.hints import Hints
from flowpi.delivery.delivery import Delivery
from tests import clock
from tests.backends.fake_backend import Call, FakeBackend, works
from tests.backends.test_failures import (
    CODES,
    ERRORS,
    PACKETS,
    SOUND,
    Listener,
    Memory,
    Refusing,
    closes,
    desk_with,
    knows,
)
from tests.delivery.test_delivery import DeliveryHarness, make_backend, speak
from tests.sound import beginning, echo, ulid

Times = Callable[[int, int], int]
Measured = Callable[..., None]

CHANCE = random.Random(21)
STATUSES = [400, 401, 402, 403, 404, 408, 413, 429, 500, 502, 503, 504]


async def delivered_after(harness: DeliveryHarness, service: FakeBackend, expected: Verdict) -> None:
    """One dictation: what the owner is told, and that the text comes once."""
    async with harness.life(make_backend(service.url)) as delivery:
        speak(delivery, pcm=SOUND)
        if expected is Verdict.STOP_AND_TELL:
            await harness.audience.until(lambda: delivery.spooled)
            assert len(harness.audience.refusals) == 1
            attempts = len(service.calls)
            service.status = None
            delivery.use(BackendChain([make_backend(service.url)]))  # as a reload does, once the owner has acted
            assert attempts <= 1
        await harness.audience.hears("delivered", ulid(1))
        assert harness.audience.refusals == []
    assert [text.text for text in harness.audience.texts] == [echo(SOUND)]


@pytest.mark.promise("P21")
async def test_the_text_comes_once_whatever_a_server_closes_with_and_when(
    tmp_path: Path, times: Times, measured: Measured
) -> None:
    each = times(1, 20)
    for code in [None, *CODES]:
        for number in range(each):
            harness = DeliveryHarness(tmp_path / f"{code}-{number}")
            async with FakeBackend([closes(code, CHANCE.randint(1, PACKETS)), works]) as backend:
                await delivered_after(harness, backend, verdict(ClosedError(code)))
    measured(close_codes=len(CODES) + 1, times_each=each, lost=0, twice=0)


@pytest.mark.promise("P21")
async def test_the_text_comes_once_whatever_status_a_server_answers(
    tmp_path: Path, times: Times, measured: Measured
) -> None:
    each = times(1, 20)
    for status in STATUSES:
        for number in range(each):
            harness = DeliveryHarness(tmp_path / f"{status}-{number}")
            async with FakeBackend(status=status) as backend:
                expected = verdict(HttpError("x", status=status))
                if expected is not Verdict.STOP_AND_TELL:
                    backend.statuses, backend.status = [status] * 3, None
                await delivered_after(harness, backend, expected)
    measured(statuses=len(STATUSES), times_each=each, lost=0, twice=0)


@pytest.mark.promise("P21")
@pytest.mark.parametrize("number", [2, 3])
def test_several_backends_that_never_work_are_each_asked_ten_times_a_minute_at_most(
    number: int, times: Times, measured: Measured
) -> None:
    """This counts dictations and probes together, for twenty minutes in which somebody speaks now and then."""
    worst = 0

    class Probed(Refusing):
        async def probe(self) -> None:
            self.attempts.append(asyncio.get_running_loop().time())
            await asyncio.sleep(0.01)
            if not self.works and not self.opens:
                raise self._error()

        opens = False

    async def main(errors: list[Callable[[], BackendError]], opens: bool) -> None:
        nonlocal worst
        backends = [Probed(error) for error in errors]
        for at, backend in enumerate(backends):
            backend.name, backend.opens = f"backend-{at}", opens
        audience = Listener(Path())
        delivery = Delivery(BackendChain(backends), Memory(), audience, rewrite_s=3600.0)
        delivery.start([])
        loop = asyncio.get_running_loop()
        for at in range(4):
            utterance = beginning(ulid(at))
            delivery.begin(utterance)
            utterance.append(SOUND)
            await asyncio.sleep(15)
            utterance.finish(loop.time())
            await asyncio.sleep(285)
        for backend in backends:
            attempts = backend.attempts
            worst = max(worst, *(sum(at <= other < at + 60 for other in attempts) for at in attempts))
        backends[-1].works = True
        delivery.retry()
        await asyncio.sleep(200)
        assert delivery.waiting() == []
        assert sorted(text.text for text in audience.texts) == [echo(SOUND)] * 4
        await delivery.close()

    errors = ERRORS[:: times(3, 1)]
    for first in errors:
        for others in (first, lambda: LinkError("no answer in time")):
            for opens in (False, True):
                clock.run(main([first, *[others] * (number - 1)], opens))
    assert worst <= 10
    measured(backends=number, kinds_of_failure=len(errors), most_contacts_in_a_minute=worst)


@pytest.mark.promise("P22")
async def test_a_key_that_expires_at_any_packet_costs_one_new_one(
    tmp_path: Path, times: Times, measured: Measured
) -> None:
    each = times(2, 20)
    for code in (None, 4001, 3000):
        for number in range(each):
            harness, after = DeliveryHarness(tmp_path / f"{code}-{number}"), CHANCE.randint(1, PACKETS)
            async with (
                FakeBackend([knows("new", after=after, code=code)]) as service,
                desk_with("old", "new") as (desk, url),
            ):
                backend = FlowBackend(
                    "cloud", FlowSettings(service.url, token=TokenSettings(url=url)), Hints(), Patience()
                )
                async with harness.life(backend, pause_s=3600) as delivery:
                    speak(delivery, pcm=SOUND)
                    await harness.audience.hears("delivered", ulid(1))
                assert [text.text for text in harness.audience.texts] == [echo(SOUND)]
                assert len(desk.requests) == 2
                assert [call.session.access_token for call in service.calls if call.session] == ["old", "new"]
    measured(ways_to_say_so=3, times_each=each, lost_packets=0, new_keys_each=1)


@pytest.mark.promise("P22")
async def test_a_key_that_is_rotated_while_one_speaks_is_used_at_once(
    tmp_path: Path, times: Times, measured: Measured
) -> None:
    each = times(2, 20)
    file = tmp_path / "key"
    for number in range(each):
        file.write_text("old")
        after = CHANCE.randint(1, PACKETS - 1)

        async def rotates(call: Call, after: int = after) -> None:
            await call.authenticate()
            await call.hear(after)
            file.write_text("new")
            await call.socket.close(4001)

        harness = DeliveryHarness(tmp_path / f"{number}")
        async with FakeBackend([rotates, knows("new")]) as backend:
            config = FlowSettings(backend.url, client_key=Secret("file", str(file)))
            async with harness.life(FlowBackend("cloud", config, Hints(), Patience()), pause_s=3600) as delivery:
                speak(delivery, pcm=SOUND)
                await harness.audience.hears("delivered", ulid(1))
            assert len(backend.calls) == 2
        assert [text.text for text in harness.audience.texts] == [echo(SOUND)]
    measured(times=each, lost_packets=0, attempts_each=2)
