"""P21 and P22: a server that closes, refuses or no longer likes the key. It is not hammered, and the text comes."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from flowpi.audio.utterance import PartId, Utterance
from flowpi.backends.chain import BackendChain
from flowpi.backends.flow import FlowBackend
from flowpi.backends.patience import Patience
from flowpi.backends.result import Timings
from flowpi.config.backends.flow import FlowSettings, TokenSettings
from flowpi.config.secret import Secret
from flowpi.core.errors import (
    BackendError,
    ClosedError,
    HttpError,
    LinkError,
    LinkLost,
    ProtocolError,
    RefusedError,
    SpoolError,
    TlsError,
)
from flowpi.core.failover import condemns_utterance
from flowpi.core.hints import Hints
from flowpi.delivery.delivery import Delivery
from flowpi.wire.roles import FinalText, PartialText
from tests import clock
from tests.backends.fake_backend import Call, FakeBackend, Script, works
from tests.backends.test_tokens import Desk
from tests.delivery.test_delivery import Audience, DeliveryHarness, make_backend, speak
from tests.sound import beginning, echo, noise, spoken, ulid

SOUND = noise(2.0)
PACKETS = 20

LIKES_NO_KEY = "backend 'first' answered HTTP 401 (no): check the key of backends.first"

CODES = [1000, 1001, 1008, 1011, 1012, 1013, 3000, 4000, 4001, 4999]


def closes(code: int | None, after: int) -> Script:
    """With this code once so many packets came; all of them: after the commit. None: by an RST."""

    async def script(call: Call) -> None:
        await call.authenticate()
        await call.hear(after if after < PACKETS else None)
        if code is None:
            call.socket.transport.abort()
        else:
            await call.socket.close(code, "so there")

    return script


@pytest.mark.parametrize("code", [None, *CODES])
async def test_a_close_is_known_by_its_code_wherever_it_comes(code: int | None) -> None:
    chance = random.Random(code)
    scripts = [closes(code, chance.randint(1, PACKETS)) for _ in range(20)]
    async with FakeBackend(scripts) as service:
        for _ in scripts:
            backend = make_backend(service.url)
            with pytest.raises(ClosedError) as caught:
                await backend.transcribe(spoken(SOUND), lambda partial: None, Timings())
            assert caught.value.code == code
            await backend.close()
    assert len(service.calls) == len(scripts)


@pytest.fixture
def harness(tmp_path: Path) -> DeliveryHarness:
    return DeliveryHarness(tmp_path / "spool")


async def test_the_next_backend_has_its_turn_and_the_owner_is_told_of_the_first(harness: DeliveryHarness) -> None:
    async with FakeBackend(status=401) as first, FakeBackend() as second:
        backends = make_backend(first.url, "first"), make_backend(second.url, "second")
        async with harness.life(*backends, pause_s=3600) as delivery:
            for number in (1, 2, 3):
                speak(delivery, ulid(number), SOUND)
                await harness.audience.hears("delivered", ulid(number))
            assert harness.audience.refusals == [LIKES_NO_KEY]
        assert first.asked == 1
    assert len(harness.audience.texts) == 3


# How often a backend is asked that never works, in simulated time.


class Refusing:
    """A backend that ends every attempt with the same error, until `works`. `hears`: after some audio, or before."""

    def __init__(self, error: Callable[[], BackendError], *, hears: bool = True) -> None:
        self.name = "cloud"
        self.hears = hears
        self.works = False
        self.attempts: list[float] = []
        self._error = error

    def start(self) -> None: ...

    async def transcribe(
        self, utterance: Utterance, on_partial: Callable[[PartialText], None], timings: Timings
    ) -> FinalText:
        self.attempts.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0.01)
        timings.audio_at = asyncio.get_running_loop().time() if self.hears else None
        if not self.works:
            raise self._error()
        await utterance.wait_complete()
        return FinalText(echo(utterance.read(0, utterance.length)), "en")

    async def probe(self) -> None: ...

    def forgive(self) -> None: ...

    def user_key(self) -> None: ...

    async def close(self) -> None: ...


class Listener(Audience):
    async def publish(self, utterance: Utterance, text: FinalText, backend: str, timings: Timings, late: bool) -> None:
        self.texts.append(text)


class Memory:
    """A full disk, and no threads, whose work would take no simulated time."""

    async def keep(self, utterance: Utterance) -> None:
        await utterance.wait_complete()
        raise SpoolError("the disk is full")

    def load(self, part: PartId) -> None: ...

    async def remove(self, part: PartId, *, keep_audio: bool = False, cancelled: bool = False) -> None: ...

    async def probe(self) -> None:
        raise SpoolError("the disk is full")


ERRORS: list[Callable[[], BackendError]] = [
    lambda: LinkError("no answer in time"),
    lambda: LinkLost("nothing was acknowledged for 5 s"),
    lambda: ClosedError(None),
    lambda: ClosedError(1012),
    lambda: ClosedError(1011),
    lambda: ClosedError(4001),
    lambda: HttpError("x", status=503),
    lambda: HttpError("x", status=429, retry_after_s=30.0),
    lambda: HttpError("x", status=401),
    lambda: HttpError("x", status=404),
    lambda: TlsError("x"),
    lambda: RefusedError("the server refused: the quota is used up"),
    lambda: RefusedError("the server refused: no"),
    lambda: ProtocolError("x"),
]


@pytest.mark.parametrize("hears", [True, False], ids=["after_audio", "before_audio"])
@pytest.mark.parametrize("make_error", ERRORS, ids=lambda make_error: repr(make_error()))
def test_a_backend_that_never_works_is_asked_ten_times_a_minute_at_most(
    make_error: Callable[[], BackendError], hears: bool
) -> None:
    """What may be the backend's fault parks no utterance: it comes as soon as the backend works."""

    async def main() -> None:
        backend = Refusing(make_error, hears=hears)
        audience = Listener(Path())
        delivery = Delivery(BackendChain([backend]), Memory(), audience)
        delivery.start([])
        loop = asyncio.get_running_loop()
        utterance = beginning(ulid(1))
        delivery.begin(utterance)
        utterance.append(SOUND)
        await asyncio.sleep(15)
        utterance.finish(loop.time())
        await asyncio.sleep(15 * 60)
        worst = max(sum(at <= other < at + 60 for other in backend.attempts) for at in backend.attempts)
        assert worst <= 10, backend.attempts
        assert delivery.spooled == 1
        (waiting,) = delivery.waiting()
        error = make_error()
        assert waiting.parked == (hears and condemns_utterance(error) and not isinstance(error, ProtocolError))
        if waiting.parked:
            assert "parked" in audience.of(ulid(1))
            delivery.retry()
        else:
            assert backend.attempts[-1] > loop.time() - 2 * 60
            assert audience.of(ulid(1))
        backend.works = True
        await asyncio.sleep(125)
        assert delivery.spooled == 0
        assert [text.text for text in audience.texts] == [echo(SOUND)]
        await delivery.close()

    clock.run(main())


# P22: the key.


def knows(*good: str, after: int = PACKETS, code: int | None = None) -> Script:
    """Accepts these keys. Of any other it says so after some packets, by a close with `code` or by an error."""

    async def script(call: Call) -> None:
        await call.authenticate()
        assert call.session is not None
        if call.session.access_token in good:
            await call.hear()
            await call.say(echo(call.pcm), final=True)
            return
        await call.hear(after)
        if code is not None:
            await call.socket.close(code)
        else:
            call.flow.fail(f"access_token {call.session.access_token} has expired")
            await call.flush()

    return script


@asynccontextmanager
async def desk_with(*keys: str) -> AsyncIterator[tuple[Desk, str]]:
    """Hands out these keys, one after the other; the last one for ever."""
    from aiohttp import web

    desk, left = Desk(), list(keys)
    desk.answer = lambda: web.json_response({"access_token": left.pop(0) if len(left) > 1 else left[0]})
    async with desk as url:
        yield desk, url


@pytest.mark.parametrize("code", [None, 4001, 3000])
@pytest.mark.parametrize("after", [1, 7, 13, PACKETS])
async def test_an_expired_token_costs_one_new_one_and_no_audio(
    harness: DeliveryHarness, after: int, code: int | None
) -> None:
    async with FakeBackend([knows("new", after=after, code=code)]) as service, desk_with("old", "new") as (desk, url):
        backend = FlowBackend("cloud", FlowSettings(service.url, token=TokenSettings(url=url)), Hints(), Patience())
        async with harness.life(backend, pause_s=3600) as delivery:
            speak(delivery, pcm=SOUND)
            await harness.audience.hears("delivered", ulid(1))
            assert harness.audience.of(ulid(1))[-1] == "delivered"
    assert [text.text for text in harness.audience.texts] == [echo(SOUND)]
    assert len(desk.requests) == 2
    assert [call.session.access_token for call in service.calls if call.session] == ["old", "new"]


async def test_a_token_that_is_refused_at_the_door(harness: DeliveryHarness) -> None:
    async with FakeBackend() as service, desk_with("old", "new") as (desk, url):
        service.statuses = [401]
        backend = FlowBackend("cloud", FlowSettings(service.url, token=TokenSettings(url=url)), Hints(), Patience())
        async with harness.life(backend, pause_s=3600) as delivery:
            speak(delivery, pcm=SOUND)
            await harness.audience.hears("delivered", ulid(1))
    assert len(desk.requests) == 2
    assert service.asked == 2


async def test_a_service_that_likes_no_token_is_not_asked_again_and_again(harness: DeliveryHarness) -> None:
    async with FakeBackend(status=401) as service, desk_with("a", "b") as (desk, url):
        backend = FlowBackend("cloud", FlowSettings(service.url, token=TokenSettings(url=url)), Hints(), Patience())
        async with harness.life(backend) as delivery:
            for number in range(1, 6):
                speak(delivery, ulid(number), SOUND)
            await harness.audience.until(lambda: delivery.spooled == 5)
            first = service.asked, len(desk.requests)
            assert first <= (10, 3)  # five at once, each of them again with another key, and then none


async def test_a_rotated_credential_is_used_at_once(harness: DeliveryHarness, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("old")

    async def rotates(call: Call) -> None:
        await call.authenticate()
        await call.hear(7)
        file.write_text("new")
        await call.socket.close(4001)

    async with FakeBackend([rotates, knows("new")]) as service:
        config = FlowSettings(service.url, client_key=Secret("file", str(file)))
        async with harness.life(FlowBackend("cloud", config, Hints(), Patience()), pause_s=3600) as delivery:
            speak(delivery, pcm=SOUND)
            await harness.audience.hears("delivered", ulid(1))
        assert len(service.calls) == 2
    assert [text.text for text in harness.audience.texts] == [echo(SOUND)]


async def test_a_mended_key_is_used_by_the_next_dictation_also_where_another_backend_stands_in(
    harness: DeliveryHarness, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.write_text("wrong")
    async with FakeBackend([knows("right", after=1, code=4001)]) as service, FakeBackend() as other:
        config = FlowSettings(service.url, client_key=Secret("file", str(file)))
        cloud = FlowBackend("cloud", config, Hints(), Patience())
        async with harness.life(cloud, make_backend(other.url), pause_s=3600) as delivery:
            for number in (1, 2):
                speak(delivery, ulid(number), SOUND)
                await harness.audience.hears("text", ulid(number), "house")
            assert len(service.calls) == 1
            assert harness.audience.refusals
            file.write_text("right")
            speak(delivery, ulid(3), SOUND)
            await harness.audience.hears("text", ulid(3), "cloud")
            assert not harness.audience.refusals


async def test_a_server_that_restarts_and_knows_no_old_token(harness: DeliveryHarness) -> None:
    """The connection breaks, and the next one is refused: one new token, and the text at once."""
    async with FakeBackend([closes(None, 7), works]) as service, desk_with("old", "new") as (desk, url):
        service.statuses = [0, 401]
        backend = FlowBackend("cloud", FlowSettings(service.url, token=TokenSettings(url=url)), Hints(), Patience())
        async with harness.life(backend, pause_s=3600) as delivery:
            speak(delivery, pcm=SOUND)
            await harness.audience.hears("text", ulid(1), "cloud")
    assert (service.asked, len(desk.requests)) == (3, 2)
    assert [text.text for text in harness.audience.texts] == [echo(SOUND)]


async def test_a_mended_key_is_used_by_the_next_dictation(harness: DeliveryHarness, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("wrong")
    async with FakeBackend([knows("right", after=1, code=4001)]) as service:
        config = FlowSettings(service.url, api_key=Secret("file", str(file)))
        async with harness.life(FlowBackend("cloud", config, Hints(), Patience()), pause_s=3600) as delivery:
            speak(delivery, ulid(1), SOUND)
            await harness.audience.until(lambda: delivery.spooled)
            assert len(service.calls) == 1
            file.write_text("right")
            speak(delivery, ulid(2), SOUND)
            await harness.audience.hears("text", ulid(2), "cloud")
            await harness.audience.hears("late", ulid(1), "cloud")  # and the one before comes with it
            assert harness.audience.refusals == []
