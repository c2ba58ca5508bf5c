"""A backend that speaks Suki: log in, make a session, stream one utterance in it.

Sources: the keys of `flowpi/wire/suki_messages.py`.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import msgspec

from flowpi.audio.utterance import Utterance
from flowpi.backends.backend import PROBE, Environment
from flowpi.backends.errors import masked
from flowpi.backends.patience import Patience
from flowpi.backends.result import Timings
from flowpi.backends.session import Session
from flowpi.backends.stream import Stream
from flowpi.backends.suki_sessions import END_S, SukiSession, SukiSessionPool
from flowpi.backends.tokens import Fetched, FetchedKey, as_it_is_now, resolve
from flowpi.backends.transport import Transport
from flowpi.config.backends.suki import SukiSettings
from flowpi.core.errors import (
    BackendError,
    ClosedError,
    CredentialError,
    HttpError,
    LinkError,
    ProtocolError,
    RefusedError,
)
from flowpi.core.failover import concerns_key
from flowpi.wire.roles import FinalText, PartialText
from flowpi.wire.suki import SukiClient, SukiClientState
from flowpi.wire.suki_messages import AudioConfig, CreateSession, GrpcCode, LoggedIn, Login, SessionCreated

LOGIN_PATH = "/api/v1/auth/login"
SESSION_PATH = "/api/v1/transcription/session"
STREAM_PATH = "/ws/transcribe"

TOKEN_LIFETIME_S = 3600.0
"""K8, K9. The answer to a login does not contain it."""

BUSY_WORDS = re.compile(r"failed[ _]?precondition|not accepting new speech sessions", re.I)
"""K0, K1. Where these words stand is not documented: in the answer to the upgrade, an error frame, or the close."""

T = TypeVar("T")
Talk = Callable[[SukiClient, Stream], Awaitable[T]]


def make(name: str, settings: SukiSettings, environment: Environment) -> "SukiBackend":
    """Make a backend of this kind, as `KINDS` asks. Suki accepts no hints."""
    return SukiBackend(name, settings, environment.patience)


class SukiBackend:
    """A backend that speaks Suki. One object for each backend: it keeps the token and the sessions."""

    def __init__(self, name: str, settings: SukiSettings, patience: Patience) -> None:
        self.name = name
        self._settings = settings
        self._patience = patience
        self._transport = Transport(name, patience, settings.ca_file)
        self._key = FetchedKey(name, self._log_in)
        self.sessions = SukiSessionPool(self._create_session, self._end_session)
        self._closing: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        self._key.start()
        self.sessions.start()

    async def transcribe(
        self, utterance: Utterance, on_partial: Callable[[PartialText], None], timings: Timings
    ) -> FinalText:
        """See `Backend.transcribe`. A busy session does not fail the attempt: all audio goes to another session, or to
        the same one a little later, until `Patience.connect_s` is over."""

        async def talk(client: SukiClient, stream: Stream) -> FinalText:
            session = Session(client, stream, utterance, on_partial, timings, self._patience)
            return await session.run(client.packet_bytes)

        return await self._stream(talk)

    async def probe(self) -> None:
        async def talk(client: SukiClient, stream: Stream) -> None:
            session = Session(client, stream, Utterance(PROBE), lambda partial: None, Timings(), self._patience)
            await session.open()

        await self._stream(talk)

    def user_key(self) -> str | None:
        return as_it_is_now(self._settings.partner_token)

    def forgive(self) -> None:
        self._key.forgive()

    async def close(self) -> None:
        # In this order: a session goes back once its stream is closed, and the end of a session needs the key.
        await self._transport.close()
        await asyncio.gather(*self._closing)
        await self.sessions.close()
        await self._key.close()

    async def _stream(self, talk: Talk[T]) -> T:
        """Call `talk` with a session that accepts the stream."""
        began = asyncio.get_running_loop().time()
        may_create = True
        while True:
            key = await self._key.get()
            session = await self._take(began + self._patience.connect_s, may_create=may_create)
            try:
                return await self._stream_in(session, key, talk)
            except BackendError as error:
                if _is_busy(error):
                    # A service that refuses even a new session would refuse any number of them.
                    may_create = may_create and session.made_at < began
                elif not _is_unknown(error) or session.made_at >= began:
                    raise

    async def _take(self, until: float, *, may_create: bool) -> SukiSession:
        try:
            async with asyncio.timeout_at(until):
                return await self.sessions.take(may_create=may_create)
        except TimeoutError:
            raise self.sessions.error or LinkError(
                f"backend {self.name!r} took no stream within {self._patience.connect_s:g} s: its sessions are busy",
                "if it goes on, check whether something else uses the sessions of this partner",
            ) from None

    async def _stream_in(self, session: SukiSession, key: str, talk: Talk[T]) -> T:
        """Call `talk` with this session, which goes back to the pool whatever happens."""
        client = SukiClient(language=self._settings.language, audio_key=self._settings.audio_key)
        url = re.sub("^http", "ws", self._url) + STREAM_PATH
        headers = {**self._headers(key), "transcription_session_id": session.id}
        give_back: Callable[[SukiSession], None] = self.sessions.cool  # the service may still consider it running
        try:
            with masked(key):
                stream = await self._transport.connect(url, headers=headers)
                try:
                    result = await talk(client, stream)
                    if client.state is SukiClientState.DONE:
                        give_back = partial(self._give_back_once_closed, stream)
                    return result
                finally:
                    self._transport.close_soon(stream)
        except BackendError as error:
            if _is_unknown(error):
                give_back = self.sessions.forget
            elif isinstance(error, HttpError) and not _is_busy(error):
                give_back = self.sessions.give_back  # no stream began: the session is as good as before
            if concerns_key(error) and not _is_busy(error):
                error.healed = await self._key.refused(key)
            raise
        finally:
            give_back(session)

    def _give_back_once_closed(self, stream: Stream, session: SukiSession) -> None:
        """K0, K1: the session accepts the next stream once this one is over, and the text comes before that."""

        async def wait() -> None:
            await stream.wait_closed()
            session.refusals = 0
            self.sessions.give_back(session)

        self._closing.add(task := asyncio.create_task(wait(), name=f"await the close of {self.name}"))
        task.add_done_callback(self._closing.discard)

    async def _log_in(self) -> Fetched:
        """Log in (K8). The partner's token is read anew each time: a rotated one counts from the next login."""
        settings = self._settings
        token = resolve(self.name, settings.partner_token)
        body = msgspec.to_builtins(Login(settings.partner_id, token, settings.provider_id))
        with masked(token):
            answer = await self._transport.request("POST", self._url + LOGIN_PATH, body=body)
        try:
            return Fetched(msgspec.convert(answer, LoggedIn).suki_token, TOKEN_LIFETIME_S)
        except msgspec.ValidationError:
            raise CredentialError(
                f"the login at backend {self.name!r} gives no suki_token", f"check backends.{self.name}.url"
            ) from None

    async def _create_session(self) -> str:
        """Make a session (K4) and return its id."""
        request = CreateSession(audio_config=AudioConfig(audio_language=self._settings.language))
        answer = await self._post("/create", msgspec.to_builtins(request))
        try:
            return msgspec.convert(answer, SessionCreated).transcription_session_id
        except msgspec.ValidationError:
            raise ProtocolError(
                f"backend {self.name!r} made no session (no transcription_session_id in its answer)",
                f"check backends.{self.name}.url",
            ) from None

    async def _end_session(self, session_id: str) -> None:
        """End a session (K5)."""
        await self._post(f"/{session_id}/end", within_s=END_S)

    async def _post(self, path: str, body: Any = None, within_s: float | None = None) -> Any:
        key = await self._key.get()
        try:
            with masked(key):
                return await self._transport.request(
                    "POST", self._url + SESSION_PATH + path, headers=self._headers(key), body=body, within_s=within_s
                )
        except BackendError as error:
            if concerns_key(error):
                error.healed = await self._key.refused(key)
            raise

    @property
    def _url(self) -> str:
        return self._settings.url.rstrip("/")

    def _headers(self, key: str) -> dict[str, str]:
        """Return the headers of every call and of the upgrade (K3, K6, K9).

        `sdp_provider_id` is for Single Auth Token partners only.
        """
        provider = self._settings.provider_id
        return {"sdp_suki_token": key} | ({"sdp_provider_id": provider} if provider else {})


def _is_busy(error: BackendError) -> bool:
    """Return whether the session accepts no stream now (K0, K1: FailedPrecondition). The HTTP status is assumed."""
    match error:
        case HttpError(status=409 | 412) | HttpError(status=400, code=GrpcCode.FAILED_PRECONDITION):
            return True
        case HttpError(detail=words) | RefusedError(message=words) | ClosedError(reason=words):
            return bool(BUSY_WORDS.search(words))
        case _:
            return False


def _is_unknown(error: BackendError) -> bool:
    """Return whether the service does not know the session, or no longer (assumed)."""
    match error:
        case HttpError(status=404 | 410):
            return True
        case RefusedError(message=words):
            return bool(re.search(r"\bNOT_FOUND\b", words))
        case _:
            return False
