"""A Suki backend against a service with levers: each case ends in the text, or in the error that the page promises."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from flowpi.audio.utterance import Utterance
from flowpi.backends.chain import BackendChain, make_backends
from flowpi.backends.patience import Patience
from flowpi.backends.result import Timings
from flowpi.backends.suki import SukiBackend
from flowpi.backends.suki_sessions import MAX_REFUSALS
from flowpi.config.backends.suki import SukiSettings
from flowpi.config.schema import Config, DictationSettings
from flowpi.config.secret import Secret
from flowpi.core.errors import BackendError, ClosedError, CredentialError, HttpError, LinkError, ProtocolError
from flowpi.core.failover import Verdict, verdict
from flowpi.wire.roles import FinalText, PartialText
from flowpi.wire.suki_sessions import SukiSessionState
from tests.backends.suki_service import (
    PARTNER_TOKEN,
    FakeSuki,
    Script,
    Stream,
    breaks,
    closes,
    fails,
    is_mute,
    names_an_expired_token,
    refuses_in_a_frame,
    says_eof_too_early,
    says_no_eof,
    says_nothing,
    works,
)
from tests.sound import beginning, echo, noise, spoken
from tests.waiting import PATIENCE_S, until

SOUND = noise(2.345)
TEXT = FinalText(echo(SOUND), "en-US")
HASTY = Patience(connect_s=2.0)


def make_backend(url: str, patience: Patience | None = None, **options: Any) -> SukiBackend:
    settings = {"partner_id": "partner", "partner_token": Secret("literal", PARTNER_TOKEN), "url": url, **options}
    return SukiBackend("clinic", SukiSettings(**settings), patience or Patience())


@asynccontextmanager
async def serving(service: FakeSuki, patience: Patience | None = None, **options: Any) -> AsyncIterator[SukiBackend]:
    """Leaves no task and no session behind."""
    before = asyncio.all_tasks()
    async with service:
        backend = make_backend(service.url, patience, **options)
        mine = asyncio.all_tasks()
        try:
            yield backend
        finally:
            await backend.close()
            assert {task.get_name() for task in asyncio.all_tasks() - mine if "clinic" in task.get_name()} == set()
    assert asyncio.all_tasks() <= before | {asyncio.current_task()}


async def transcribe(
    backend: SukiBackend, utterance: Utterance | None = None, partials: list[PartialText] | None = None
) -> Any:
    heard = partials if partials is not None else []
    return await backend.transcribe(utterance or spoken(SOUND), heard.append, Timings())


class TestWorks:
    async def test_every_sample_arrives(self) -> None:
        async with serving(service := FakeSuki()) as backend:
            assert await transcribe(backend) == TEXT
        (stream,) = service.streams
        assert stream.pcm == SOUND + bytes(-len(SOUND) % 3200)
        assert stream.headers["sdp_suki_token"] == "canary-jwt-1"
        assert "sdp_provider_id" not in stream.headers
        assert "Sec-WebSocket-Protocol" not in stream.headers
        assert service.ended == service.made == [stream.session_id]

    @pytest.mark.parametrize("size", [0, 2, 3198, 3200, 3202])
    async def test_whatever_is_left_for_the_last_chunk(self, size: int) -> None:
        async with serving(FakeSuki()) as backend:
            assert (await transcribe(backend, spoken(SOUND[:size]))).text == echo(SOUND[:size])

    async def test_while_it_is_spoken(self) -> None:
        utterance, partials = beginning(), list[PartialText]()

        async def says_something(stream: Stream) -> None:
            await stream.hear(1)
            await stream.say("it was")
            await works(stream)

        async with serving(service := FakeSuki([says_something])) as backend:
            delivering = asyncio.create_task(transcribe(backend, utterance, partials))
            for at in range(0, len(SOUND), 1000):
                utterance.append(SOUND[at : at + 1000])
                await asyncio.sleep(0)
            await service.stream(1)
            await until(lambda: partials)
            utterance.finish(1.0)
            assert await delivering == TEXT
        assert partials[0] == PartialText("it was", "en-US")

    async def test_a_single_auth_token_partner(self) -> None:
        async with serving(service := FakeSuki(provider_id="dr-who"), provider_id="dr-who") as backend:
            assert await transcribe(backend) == TEXT
        assert service.logins[0].provider_id == "dr-who"
        assert service.streams[0].headers["sdp_provider_id"] == "dr-who"

    async def test_the_token_and_the_session_are_there_before_the_press(self) -> None:
        async with serving(service := FakeSuki()) as backend:
            backend.start()
            await until(lambda: service.made)
            assert await transcribe(backend) == TEXT
            assert (len(service.logins), len(service.made)) == (1, 1)

    async def test_one_session_takes_one_utterance_after_the_other(self) -> None:
        async with serving(service := FakeSuki()) as backend:
            for _ in range(MAX_REFUSALS + 2):
                assert await transcribe(backend) == TEXT
                await until(lambda: backend.sessions.free)  # the stream is over a moment after its text
        assert {stream.session_id for stream in service.streams} == {"session-1"}

    async def test_the_next_press_while_the_first_stream_runs(self) -> None:
        utterance = beginning()
        async with serving(service := FakeSuki()) as backend:
            first = asyncio.create_task(transcribe(backend, utterance))
            await service.stream(1)
            assert await transcribe(backend) == TEXT
            utterance.finish(1.0)
            assert (await first).text == echo(b"")
        assert [stream.session_id for stream in service.streams] == ["session-1", "session-2"]
        assert sorted(service.ended) == ["session-1", "session-2"]

    async def test_the_next_press_takes_the_first_session_if_that_is_sooner(self) -> None:
        utterance = beginning()
        async with serving(service := FakeSuki()) as backend:
            first = asyncio.create_task(transcribe(backend, utterance))
            await service.stream(1)
            service.held = asyncio.Event()
            second = asyncio.create_task(transcribe(backend))
            utterance.finish(1.0)
            await first
            assert await second == TEXT
            assert service.streams[1].session_id == "session-1"
            service.held.set()
        assert sorted(service.ended) == ["session-1", "session-2"]

    async def test_a_probe_opens_a_stream_and_leaves_no_session(self) -> None:
        async with serving(service := FakeSuki([is_mute])) as backend:
            await backend.probe()
        assert service.upgrades == 1
        assert service.ended == service.made == ["session-1"]

    async def test_twenty_at_once(self) -> None:
        sounds = [noise(0.5, seed) for seed in range(20)]
        async with serving(service := FakeSuki()) as backend:
            texts = await asyncio.gather(*(transcribe(backend, spoken(sound)) for sound in sounds))
        assert [text.text for text in texts] == [echo(sound) for sound in sounds]
        assert sorted(service.ended) == sorted(service.made)
        assert len(service.logins) == 1


class TestBusy:
    @pytest.mark.parametrize("times", [1, 3])
    async def test_so_many_refusals(self, times: int) -> None:
        async with serving(service := FakeSuki()) as backend:
            service.busy = times
            assert await transcribe(backend) == TEXT
            assert service.upgrades == times + 1
            assert len(service.made) == 1  # a new one that is refused is no reason to make more

    @pytest.mark.parametrize(
        "refusal",
        [
            (400, '{"code": 9, "message": "what"}'),
            (409, ""),
            (412, ""),
            (500, "rpc error: code = FailedPrecondition desc = what"),
            (403, '{"error": {"message": "transcript session is not accepting new speech sessions"}}'),
        ],
    )
    async def test_each_way_to_say_it(self, refusal: tuple[int, str]) -> None:
        async with serving(service := FakeSuki(), Patience(connect_s=1.5)) as backend:
            service.refusal = refusal
            with pytest.raises(LinkError, match=r"took no stream within 1\.5 s: its sessions are busy") as caught:
                await transcribe(backend)
            assert verdict(caught.value) is Verdict.RETRY_LATER
            # At once, after 0.25 s and after 0.75 s; the fourth would come after 1.75 s. A busy machine asks later.
            assert 1 <= service.upgrades <= 3

    async def test_a_frame_says_it(self) -> None:
        async with serving(service := FakeSuki([refuses_in_a_frame, works])) as backend:
            assert await transcribe(backend) == TEXT
        assert len(service.streams) == 2

    async def test_a_session_that_the_service_thinks_is_running_is_replaced(self) -> None:
        async with serving(service := FakeSuki([breaks, works])) as backend:
            service.keeps_running = True
            with pytest.raises(ClosedError):
                await transcribe(backend)
            assert await transcribe(backend) == TEXT
            assert await transcribe(backend) == TEXT
            assert service.sessions.state("session-1") is SukiSessionState.RUNNING
        assert [stream.session_id for stream in service.streams].count("session-1") == 1
        assert sorted(service.ended) == sorted(service.made)

    async def test_it_is_asked_a_few_times_only(self) -> None:
        async with serving(service := FakeSuki(), Patience(connect_s=2.0)) as backend:
            service.busy = 1000
            with pytest.raises(LinkError):
                await transcribe(backend)
            assert service.upgrades <= 5
            assert len(service.made) == 1

    async def test_once_it_took_a_stream_its_refusals_are_forgotten(self) -> None:
        async with serving(service := FakeSuki()) as backend:
            backend.start()
            await until(lambda: backend.sessions.free)
            service.held, service.busy = asyncio.Event(), 2
            assert await transcribe(backend) == TEXT
            await until(lambda: backend.sessions.free)
            session = await backend.sessions.take(may_create=False)
            assert (session.id, session.refusals) == ("session-1", 0)
            service.held.set()

    async def test_none_can_be_made_while_the_first_stream_runs(self) -> None:
        """Then that is told, and not that they are busy."""
        utterance = beginning()
        async with serving(service := FakeSuki(), HASTY) as backend:
            first = asyncio.create_task(transcribe(backend, utterance))
            await service.stream(1)
            service.answer, service.create_status = b"no", 500
            with pytest.raises(HttpError, match=r"HTTP 500 \(no\)$"):
                await transcribe(backend)
            utterance.finish(1.0)
            await first

    async def test_one_that_was_ended_elsewhere_is_replaced(self) -> None:
        async with serving(service := FakeSuki()) as backend:
            backend.start()
            await until(lambda: backend.sessions.free)
            service.end_session("session-1")
            assert await transcribe(backend) == TEXT
        assert service.streams[0].session_id == "session-2"

    async def test_one_that_the_service_forgot_is_replaced(self) -> None:
        async with serving(service := FakeSuki()) as backend:
            backend.start()
            await until(lambda: backend.sessions.free)
            service.forget_sessions()
            assert await transcribe(backend) == TEXT
        assert service.ended == ["session-2"]

    async def test_a_new_one_that_is_not_known_is_a_wrong_address(self) -> None:
        async with serving(service := FakeSuki()) as backend:
            service.refusal = 404, ""
            with pytest.raises(HttpError, match=r"HTTP 404: check the path in backends\.clinic\.url$"):
                await transcribe(backend)
        assert (service.upgrades, len(service.made)) == (1, 1)


class TestKeys:
    async def test_a_token_that_expired_before_the_press(self) -> None:
        async with serving(service := FakeSuki()) as backend:
            backend.start()
            await until(lambda: backend.sessions.free)
            service.expire_tokens()
            chain = BackendChain([backend])
            text, _, _ = await chain.text_of(spoken(SOUND), lambda partial, name: None)
        assert text == TEXT
        assert len(service.logins) == 2
        assert service.upgrades == 2

    async def test_a_401_is_healed_by_a_login(self) -> None:
        async with serving(service := FakeSuki()) as backend:
            await transcribe(backend)
            await until(lambda: backend.sessions.free)
            service.expire_tokens()
            with pytest.raises(HttpError) as caught:
                await transcribe(backend)
            assert caught.value.healed
            assert await transcribe(backend) == TEXT
        assert {stream.session_id for stream in service.streams} == {"session-1"}

    @pytest.mark.parametrize("script", [names_an_expired_token, closes(4001)])
    async def test_a_token_that_expires_in_the_middle(self, script: Script, tmp_path: Path) -> None:
        """P22: the partner's token is read anew, one login, and all audio goes again."""
        secret = tmp_path / "partner-token"
        secret.write_text(PARTNER_TOKEN)

        async def rotates(stream: Stream) -> int | None:
            code = await script(stream)
            secret.write_text("canary-rotated")
            service.partner_token = "canary-rotated"
            service.expire_tokens()
            return code

        async with serving(service := FakeSuki([rotates, works]), partner_token=Secret("file", str(secret))) as backend:
            chain = BackendChain([backend])
            text, _, _ = await chain.text_of(spoken(SOUND), lambda partial, name: None)
        assert text == TEXT
        assert [login.partner_token for login in service.logins] == [PARTNER_TOKEN, "canary-rotated"]
        assert len(service.streams) == 2

    async def test_a_wrong_partner_token(self) -> None:
        async with serving(service := FakeSuki(), partner_token=Secret("literal", "canary-wrong")) as backend:
            with pytest.raises(HttpError) as caught:
                await transcribe(backend)
            assert verdict(caught.value) is Verdict.STOP_AND_TELL
            message = "backend 'clinic' answered HTTP 401 (bad token ***): check the key of backends.clinic"
            assert str(caught.value) == message
            assert caught.value.detail == "bad token ***"
        assert len(service.logins) == 1

    async def test_a_partner_token_that_is_not_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("FLOWPI_TEST_KEY", raising=False)
        async with serving(service := FakeSuki(), partner_token=Secret("env", "FLOWPI_TEST_KEY")) as backend:
            with pytest.raises(CredentialError, match=r"FLOWPI_TEST_KEY is not set"):
                await transcribe(backend)
        assert not service.logins

    async def test_many_wait_for_one_login(self) -> None:
        async with serving(service := FakeSuki()) as backend:
            await asyncio.gather(*(transcribe(backend) for _ in range(5)))
        assert len(service.logins) == 1

    async def test_no_secret_is_told(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("DEBUG")
        async with serving(FakeSuki([fails])) as backend:
            with pytest.raises(BackendError) as caught:
                await transcribe(backend)
        assert str(caught.value) == "the server refused: UNKNOWN: broken, ***"
        assert "canary" not in repr(vars(caught.value)) + caplog.text

    @pytest.mark.parametrize("status", [500, 429, 302])
    async def test_no_login(self, status: int) -> None:
        async with serving(service := FakeSuki()) as backend:
            service.login_status = status
            with pytest.raises(HttpError) as caught:
                await transcribe(backend)
            assert verdict(caught.value) is Verdict.RETRY_LATER


class TestNoText:
    async def test_no_eof(self) -> None:
        async with serving(FakeSuki([says_no_eof])) as backend:
            assert await transcribe(backend) == FinalText(TEXT.text, "en-US", confirmed=False)

    @pytest.mark.parametrize(
        ("script", "kind", "message", "meaning"),
        [
            (says_nothing, ClosedError, r"the server closed .* \(code 1000\)", Verdict.RETRY_LATER),
            (closes(1000), ClosedError, r"the server closed .* \(code 1000\)", Verdict.RETRY_LATER),
            (closes(1001), ClosedError, r"the server closed .* \(code 1001\)", Verdict.RETRY_NOW),
            (closes(1008), ClosedError, r"the server closed .* \(code 1008\)", Verdict.STOP_AND_TELL),
            (closes(1011), ClosedError, r"the server closed .* \(code 1011\)", Verdict.RETRY_LATER),
            (closes(1012), ClosedError, r"the server closed .* \(code 1012\)", Verdict.RETRY_NOW),
            (closes(1013), ClosedError, r"the server closed .* \(code 1013\)", Verdict.RETRY_LATER),
            (closes(4999), ClosedError, r"the server closed .* \(code 4999\)", Verdict.RETRY_LATER),
            (breaks, ClosedError, r"the server closed .* \(no close frame\)", Verdict.RETRY_NOW),
            (is_mute, LinkError, r"the backend did not send the text within .* s", Verdict.RETRY_LATER),
        ],
    )
    async def test_then_the_next_attempt_gives_it(
        self, script: Script, kind: type[BackendError], message: str, meaning: Verdict
    ) -> None:
        """P21: from the first byte."""
        async with serving(service := FakeSuki([script, works]), Patience(final_s=1.5)) as backend:
            with pytest.raises(kind, match=rf"^{message}$") as caught:
                await transcribe(backend)
            assert verdict(caught.value) is meaning
            assert await transcribe(backend) == TEXT
        assert sorted(service.ended) == sorted(service.made)

    async def test_an_eof_in_the_middle_of_the_speech_is_not_its_end(self) -> None:
        utterance = beginning()
        utterance.append(SOUND[:6400])
        async with serving(FakeSuki([says_eof_too_early, works])) as backend:
            with pytest.raises(ClosedError, match=r"it said EOF before the end of the audio") as caught:
                await transcribe(backend, utterance)
            assert verdict(caught.value) is Verdict.RETRY_NOW
            utterance.append(SOUND[6400:])
            utterance.finish(1.0)
            assert await transcribe(backend, utterance) == TEXT

    @pytest.mark.parametrize(
        ("status", "meaning"),
        [
            (402, Verdict.STOP_AND_TELL),
            (403, Verdict.STOP_AND_TELL),
            (429, Verdict.RETRY_LATER),
            (500, Verdict.RETRY_LATER),
            (503, Verdict.RETRY_LATER),
        ],
    )
    async def test_the_upgrade_is_refused(self, status: int, meaning: Verdict) -> None:
        async with serving(service := FakeSuki()) as backend:
            service.refusal = status, "no"
            with pytest.raises(HttpError, match=rf"HTTP {status} \(no\)") as caught:
                await transcribe(backend)
            assert verdict(caught.value) is meaning or caught.value.healed
            service.refusal = None
            assert await transcribe(backend) == TEXT
        assert len(service.made) == 1  # no stream began, so the session is as good as before

    @pytest.mark.parametrize("answer", [b"", b"[]", b"{}", b'{"transcription_session_id": "two words"}', b"<html>"])
    async def test_no_session_in_the_answer(self, answer: bytes) -> None:
        async with serving(service := FakeSuki()) as backend:
            service.answer = answer
            with pytest.raises(ProtocolError, match=r"^backend 'clinic' made no session .*: check backends"):
                await transcribe(backend)


class TestCancel:
    async def test_while_the_session_is_made(self) -> None:
        async with serving(service := FakeSuki()) as backend:
            service.held = asyncio.Event()
            delivering = asyncio.create_task(transcribe(backend))
            await until(lambda: service.logins)
            delivering.cancel()
            await asyncio.gather(delivering, return_exceptions=True)
            service.held.set()
            assert await transcribe(backend) == TEXT
        assert service.made == service.ended == ["session-1"]

    async def test_in_the_middle_of_a_stream(self) -> None:
        async with serving(service := FakeSuki([is_mute, works])) as backend:
            service.keeps_running = True
            delivering = asyncio.create_task(transcribe(backend, beginning()))
            await service.stream(1)
            delivering.cancel()
            await asyncio.gather(delivering, return_exceptions=True)
            assert await transcribe(backend) == TEXT
        assert sorted(service.ended) == sorted(service.made) == ["session-1", "session-2"]

    async def test_at_every_turn_of_the_loop(self) -> None:
        async with serving(service := FakeSuki()) as backend:
            for turns in range(0, 60, 3):
                delivering = asyncio.create_task(transcribe(backend))
                for _ in range(turns):
                    await asyncio.sleep(0)
                delivering.cancel()
                await asyncio.gather(delivering, return_exceptions=True)
            assert await transcribe(backend) == TEXT
        assert sorted(service.ended) == sorted(service.made)

    async def test_close_does_not_wait_long_for_a_service_that_hangs(self) -> None:
        async with FakeSuki() as service:
            backend = make_backend(service.url, Patience(connect_s=1e6))
            service.held = asyncio.Event()
            backend.start()
            await until(lambda: service.logins)
            async with asyncio.timeout(PATIENCE_S):
                await backend.close()
            service.held.set()


async def test_the_configured_backend() -> None:
    async with FakeSuki() as service:
        backend = SukiSettings("partner", Secret("literal", PARTNER_TOKEN), url=service.url + "/")
        backends = make_backends(
            Config(backends={"clinic": backend}, dictation=DictationSettings(backends=("clinic",)))
        )
        backends.start()
        text, name, _ = await backends.text_of(spoken(SOUND), lambda partial, backend: None)
        await backends.close()
    assert (text, name) == (TEXT, "clinic")
