import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowpi.audio.utterance import About, Utterance
from flowpi.backends.flow import FlowBackend
from flowpi.backends.patience import Patience
from flowpi.backends.result import Timings
from flowpi.config.backends.flow import FlowSettings
from flowpi.config.secret import Secret
from flowpi.core.errors import (
    AnsweredInText,
    BackendError,
    ClosedError,
    CredentialError,
    LinkError,
    ProtocolError,
    RefusedError,
)
from flowpi.core.hints import Hints, TargetApp
from flowpi.server.app import Server
from flowpi.server.engines import EchoEngine
from flowpi.wire.roles import FinalText, PartialText
from tests.backends.fake_backend import (
    Call,
    FakeBackend,
    Script,
    answers_in_text,
    calls_nothing_final,
    calls_the_first_words_final,
    hangs_up,
    hangs_up_after_auth,
    hangs_up_after_commit,
    hangs_up_in_the_middle,
    is_mute,
    is_mute_after_auth,
    is_mute_after_commit,
    refuses,
    talks_rubbish,
    works,
)
from tests.sound import ID, beginning, echo, noise, spoken
from tests.waiting import PATIENCE_S, until

SOUND = noise(2.345)

PATIENT = Patience()
HASTY: dict[Script, Patience] = {
    is_mute: Patience(auth_s=0.2),
    is_mute_after_auth: Patience(send_s=0.2, final_s=0.2),
    is_mute_after_commit: Patience(final_s=0.2),
}
"""Short only for what never comes: a busy machine may be slow with the rest."""


CONFIGURED = Hints(app=TargetApp(name="flowpi", kind="other"), last_name="Lovelace")


def make_backend(url: str, patience: Patience = PATIENT, **options: Any) -> FlowBackend:
    return FlowBackend("house", FlowSettings(url, **options), CONFIGURED, patience)


async def transcribe(
    backend: FlowBackend,
    utterance: Utterance,
    on_partial: Callable[[PartialText], None] = lambda partial: None,
    timings: Timings | None = None,
) -> FinalText:
    try:
        return await backend.transcribe(utterance, on_partial, timings or Timings())
    finally:
        await backend.close()


class TestEverySampleArrives:
    @pytest.mark.parametrize("transport", ["tcp", "unix"])
    @pytest.mark.parametrize("encoding", ["msgpack", "json"])
    @pytest.mark.parametrize("audio", ["wav", "pcm"])
    async def test_in_each_form(self, tmp_path: Path, transport: str, encoding: str, audio: str) -> None:
        address = "127.0.0.1:0" if transport == "tcp" else f"unix:{tmp_path}/asr.sock"
        async with Server([address], EchoEngine(), strict=audio == "wav") as server:
            url = server.urls[0] + ("/api/v1/dash/ws" if transport == "tcp" else "")
            key: Any = {"api_key" if transport == "tcp" else "client_key": Secret("literal", "canary-key")}
            text = await transcribe(make_backend(url, encoding=encoding, audio=audio, **key), spoken(SOUND))
        assert text == FinalText(echo(SOUND), "en")

    @pytest.mark.parametrize(("packet_ms", "append_ms"), [(10, 10), (20, 1000), (100, 100), (1000, 5000)])
    async def test_in_packets_of_each_size(self, packet_ms: int, append_ms: int) -> None:
        async with FakeBackend() as service:
            backend = make_backend(service.url, packet_ms=packet_ms, append_ms=append_ms)
            text = await transcribe(backend, spoken(SOUND))
        assert text.text == echo(SOUND, packet_ms)
        assert max(service.calls[0].appends) <= append_ms * 32

    @pytest.mark.parametrize("size", [0, 2, 3198, 3200, 3202, 6400])
    async def test_whatever_is_left_for_the_last_packet(self, size: int) -> None:
        async with FakeBackend() as service:
            text = await transcribe(make_backend(service.url), spoken(SOUND[:size]))
        assert text.text == echo(SOUND[:size])

    async def test_while_it_is_spoken(self) -> None:
        utterance = beginning()
        async with FakeBackend() as service:
            delivering = asyncio.create_task(transcribe(make_backend(service.url), utterance))
            call = await service.called(1)
            for at in range(0, len(SOUND), 1000):
                utterance.append(SOUND[at : at + 1000])
                await asyncio.sleep(0)
            utterance.finish(1.0)
            assert (await delivering).text == echo(SOUND)
        assert call.pcm.startswith(SOUND)

    async def test_the_first_packet_goes_as_soon_as_it_is_there(self) -> None:
        utterance = beginning()
        async with FakeBackend([hangs_up_in_the_middle]) as service:
            delivering = asyncio.create_task(transcribe(make_backend(service.url), utterance))
            utterance.append(SOUND[:3200])
            with pytest.raises(LinkError):  # it hangs up once it has the packet
                await delivering
        assert service.calls[0].appends == [3200]


async def test_what_the_session_is_opened_with() -> None:
    key = Secret("literal", "s3cret & more")
    async with FakeBackend() as service:
        backend = make_backend(service.url, client_key=key, language=("de-AT", "EN", "de"))
        about = About(ID, 0.0, hints=Hints(app=TargetApp(name="Notes"), first_name="Ada"))
        await transcribe(backend, Utterance(about, pcm=SOUND, complete=True))
        call = service.calls[0]
        assert call.path == "/ws?client_key=Bearer%20s3cret%20%26%20more"
        assert call.session is not None
        assert call.session.access_token == "s3cret & more"
        assert call.session.language == ["de", "en"]
        assert call.session.phrases == ("Ada", "Lovelace"), "the last name of the configuration"


async def test_partial_texts_and_timings() -> None:
    async def says_something(call: Any) -> None:
        await call.authenticate()
        await call.hear(1)
        await call.say("it")
        await call.say("it was")
        await call.hear()
        await call.say("It was.", final=True)

    partials: list[PartialText] = []
    timings = Timings()
    began = asyncio.get_running_loop().time()
    async with FakeBackend([says_something]) as service:
        text = await transcribe(make_backend(service.url), spoken(SOUND), partials.append, timings)
    assert text == FinalText("It was.", "en")
    assert partials == [PartialText("it", "en"), PartialText("it was", "en")]
    assert timings.first_packet_at is not None
    assert timings.committed_at is not None
    assert timings.final_at is not None
    assert began <= timings.first_packet_at <= timings.committed_at <= timings.final_at


async def test_a_server_that_does_not_say_goodbye_costs_no_time() -> None:
    """The text is handed over before the connection is closed."""

    async def lingers(call: Any) -> None:
        await works(call)
        call.socket.transport.pause_reading()  # the close is never seen, so never answered
        await released.wait()

    released = asyncio.Event()
    async with FakeBackend([lingers]) as service:
        backend = make_backend(service.url, Patience(close_s=60))
        async with asyncio.timeout(PATIENCE_S):
            text = await backend.transcribe(spoken(SOUND), lambda partial: None, Timings())
        service.calls[0].socket.transport.abort()
        released.set()
        await backend.close()
    assert text.text == echo(SOUND)


@pytest.mark.parametrize(
    ("script", "kind", "message"),
    [
        (is_mute, LinkError, "the backend did not open the session within 0.2 s"),
        (is_mute_after_auth, LinkError, r"the backend (took no audio for|did not send the text within) [\d.]+ s"),
        (is_mute_after_commit, LinkError, r"the backend did not send the text within [\d.]+ s"),
        (hangs_up, LinkError, r"the server closed before the text came \(code 1000\)"),
        (hangs_up_after_auth, LinkError, r"the server closed before the text came \(code 1000\)"),
        (hangs_up_in_the_middle, LinkError, r"the server closed before the text came \(code 1011\)"),
        (hangs_up_after_commit, LinkError, r"the server closed before the text came \(code 1000\)"),
        (calls_the_first_words_final, LinkError, r"the server closed before the text came \(code 1000\)"),
        (refuses, RefusedError, "the server refused: the quota is used up"),
        (talks_rubbish, ProtocolError, r"the server sent no Flow message \(not (JSON|MessagePack) \(.*\)\)"),
    ],
)
@pytest.mark.parametrize("encoding", ["msgpack", "json"])
async def test_what_goes_wrong_is_said(script: Script, kind: type[BackendError], message: str, encoding: str) -> None:
    utterance = beginning()  # of which nothing more comes: no attempt may wait for the end of the speech
    utterance.append(SOUND)
    if script in (is_mute_after_auth, is_mute_after_commit, hangs_up_after_commit):
        utterance.finish(1.0)
    async with FakeBackend([script]) as service, asyncio.timeout(PATIENCE_S):
        with pytest.raises(kind, match=rf"^{message}$"):
            await transcribe(make_backend(service.url, HASTY.get(script, PATIENT), encoding=encoding), utterance)


async def test_a_text_that_nobody_called_final_is_taken_after_the_commit() -> None:
    async with FakeBackend([calls_nothing_final]) as service:
        text = await transcribe(make_backend(service.url), spoken(SOUND))
    assert text == FinalText(echo(SOUND), "en", confirmed=False)


async def test_nobody_listens(tmp_path: Path, unused_tcp_port: int) -> None:
    with pytest.raises(
        LinkError, match=r"^backend 'house' is not reached .*: check the network, and backends.house.url$"
    ):
        await transcribe(make_backend(f"ws://127.0.0.1:{unused_tcp_port}/ws"), spoken(SOUND))
    with pytest.raises(LinkError) as caught:
        await transcribe(make_backend(f"ws+unix://{tmp_path}/asr.sock"), spoken(SOUND))
    message = "backend 'house' is not reached (no such file or directory): start `flowpi serve`"
    assert str(caught.value) == message


@pytest.mark.parametrize("installed", [False, True])
async def test_a_unix_socket_has_no_port_to_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    units, address = tmp_path / "units", tmp_path / "asr.sock"
    units.mkdir()
    monkeypatch.setattr("flowpi.host.units.FOLDERS", [str(units)])
    if installed:
        (units / "flowpi-asr.service").touch()
    answers = iter([b"", b"SSH-2.0-OpenSSH_9.6\r\n"])

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(next(answers))
        writer.close()

    async with await asyncio.start_unix_server(hang_up, address):
        where = "`systemctl status flowpi-asr`" if installed else "`flowpi serve`"
        with pytest.raises(
            ClosedError, match=rf"\(no close frame, no answer to the upgrade\): if .*, look at {where}$"
        ):
            await transcribe(make_backend(f"ws+unix://{address}"), spoken(SOUND))
        with pytest.raises(ProtocolError, match=r"is no WebSocket server: check backends.house.url$"):
            await transcribe(make_backend(f"ws+unix://{address}"), spoken(SOUND))


async def test_a_link_that_takes_nothing_is_dead() -> None:
    async def reads_no_more(call: Any) -> None:
        await call.authenticate()
        call.socket.transport.pause_reading()
        await call.socket.wait_closed()

    utterance = spoken(noise(0.1) * 3000)  # 10 MB: more than the kernel's buffers take
    async with FakeBackend([reads_no_more]) as service:
        with pytest.raises(LinkError, match=r"^the backend took no audio for 0.2 s$"):
            await transcribe(make_backend(service.url, Patience(send_s=0.2)), utterance)
        service.calls[0].socket.transport.abort()


async def test_an_answer_in_text_is_told_apart_and_json_works_then() -> None:
    async with FakeBackend([answers_in_text, works]) as service:
        backend = make_backend(service.url)
        with pytest.raises(AnsweredInText):
            await transcribe(backend, spoken(SOUND))
        assert (await transcribe(backend, spoken(SOUND))).text == echo(SOUND)
        assert [call.encoding.value for call in service.calls] == ["msgpack", "json"]


async def test_a_key_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLOWPI_TEST_KEY", raising=False)
    backend = make_backend("ws://127.0.0.1:1/ws", api_key=Secret("env", "FLOWPI_TEST_KEY"))
    with pytest.raises(CredentialError, match=r"there is no key for backend 'house': .*FLOWPI_TEST_KEY is not set"):
        await transcribe(backend, spoken(SOUND))


async def test_cancelling_closes_the_connection() -> None:
    async with FakeBackend([is_mute_after_auth]) as service:
        delivering = asyncio.create_task(transcribe(make_backend(service.url), beginning()))
        call = await service.called(1)
        await until(lambda: call.session)
        delivering.cancel()
        await asyncio.gather(delivering, return_exceptions=True)
        await call.socket.wait_closed()
        assert delivering.cancelled()
        assert call.socket.close_code == 1000


async def test_a_key_that_the_server_names_is_not_told() -> None:
    async def names_the_key(call: Call) -> None:
        call.flow.fail("invalid access_token canary-7f3a")
        await call.flush()

    async with FakeBackend([names_the_key]) as service:
        with pytest.raises(RefusedError) as caught:
            await transcribe(make_backend(service.url, api_key=Secret("literal", "canary-7f3a")), spoken(SOUND))
    assert "canary" not in str(caught.value)
    assert str(caught.value) == "the server refused: invalid access_token ***"


async def test_the_beginning_of_a_key_is_not_told_either() -> None:
    """What a server says is cut to 200 characters, perhaps in the middle of the key."""
    key = "canary-" + "x" * 300

    async def names_the_key(call: Call) -> None:
        call.flow.fail(f"{'invalid ' * 22}{key}")
        await call.flush()

    async with FakeBackend([names_the_key]) as service:
        with pytest.raises(RefusedError) as caught:
            await transcribe(make_backend(service.url, api_key=Secret("literal", key)), spoken(SOUND))
    assert "canary" not in str(caught.value)
    assert str(caught.value).endswith("invalid ***")


async def test_a_server_that_is_ready_before_it_is_asked() -> None:
    """Its first answer comes in the same breath as the upgrade."""

    async def is_hasty(call: Call) -> None:
        await call.socket.send('{"status": "auth"}')
        while call.session is None:
            await call._receive()
        call.flow.accept()
        call.flow.data_to_send()
        await call.hear()
        await call.say("It was.", final=True)

    async with FakeBackend([is_hasty]) as service:
        assert (await transcribe(make_backend(service.url, encoding="json"), spoken(SOUND))).text == "It was."
