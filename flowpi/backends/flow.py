"""A backend that speaks Wispr Flow's dialect over a WebSocket."""

from collections.abc import Callable, Mapping
from urllib.parse import quote, urlsplit, urlunsplit

from flowpi.audio.denoise import Filter, unfiltered
from flowpi.audio.utterance import About, Utterance
from flowpi.backends.backend import NO_PROFILES, PROBE, Environment, Wishes
from flowpi.backends.errors import masked
from flowpi.backends.patience import Patience
from flowpi.backends.result import Timings
from flowpi.backends.session import Session
from flowpi.backends.stream import Stream
from flowpi.backends.tokens import FetchedKey, Key, NoKey, SecretKey, as_it_is_now, fetch_token
from flowpi.backends.transport import Transport
from flowpi.backends.warmup import WarmUp
from flowpi.config.backends.flow import FlowSettings
from flowpi.core.errors import AnsweredInText, BackendError
from flowpi.core.failover import concerns_key
from flowpi.core.hints import Hints
from flowpi.wire.codec import Encoding
from flowpi.wire.flow import FlowClient
from flowpi.wire.flow_messages import Context
from flowpi.wire.roles import FinalText, PartialText

CLIENT_PATH = "/api/v1/dash/client_ws"
"""The path that a Unix socket serves the dialect on; the URL of a TCP backend names its own path."""


def make(name: str, settings: FlowSettings, environment: Environment) -> "FlowBackend":
    """Make a backend of this kind, as `KINDS` asks."""
    return FlowBackend(
        name,
        settings,
        environment.hints,
        environment.patience,
        environment.device_id,
        profiles=environment.profiles,
        make_filter=environment.filter,
    )


class FlowBackend:
    """A backend that speaks Flow. One object for each backend: it remembers a server that answers only in JSON."""

    def __init__(
        self,
        name: str,
        settings: FlowSettings,
        hints: Hints,
        patience: Patience,
        client_id: str = "flowpi",
        *,
        profiles: Mapping[str, Wishes] = NO_PROFILES,
        make_filter: Callable[[], Filter] = unfiltered,
    ) -> None:
        """
        Args:
            hints, profiles: as in `Environment`.
            client_id: what this appliance calls itself to get a token.
            make_filter: makes what the sound passes on its way to the service.
        """
        self.name = name
        self.encoding = Encoding(settings.encoding)
        self._settings = settings
        self._hints = hints
        self._profiles = profiles
        self._transport = Transport(name, patience, settings.ca_file)
        self._patience = patience
        self._make_filter = make_filter
        self._key = self._make_key(client_id)
        self._warm_up = WarmUp(self._transport, settings.url, settings.warm_up_s)

    def start(self) -> None:
        self._key.start()

    async def transcribe(
        self, utterance: Utterance, on_partial: Callable[[PartialText], None], timings: Timings
    ) -> FinalText:
        self._warm_up.dictation_began()
        key = await self._key.get()
        client = self._client(key, utterance.about)
        try:
            with masked(key):
                stream = await self._connect(client, key)
                try:
                    heard = self._make_filter()
                    session = Session(client, stream, utterance, on_partial, timings, self._patience, heard)
                    appended = self._settings.append_ms // self._settings.packet_ms
                    return await session.run(client.packet_bytes * appended)
                finally:
                    self._transport.close_soon(stream)
        except BackendError as error:
            await self._heal(error, key)
            raise

    async def probe(self) -> None:
        key = await self._key.get()
        client = self._client(key, PROBE)
        try:
            with masked(key):
                stream = await self._connect(client, key)
                try:
                    session = Session(client, stream, Utterance(PROBE), lambda partial: None, Timings(), self._patience)
                    await session.open()
                finally:
                    self._transport.close_soon(stream)
        except BackendError as error:
            await self._heal(error, key)
            raise

    def user_key(self) -> str | None:
        settings = self._settings
        return as_it_is_now(settings.token.api_key if settings.token else settings.client_key or settings.api_key)

    def forgive(self) -> None:
        self._key.forgive()

    async def close(self) -> None:
        await self._key.close()
        await self._warm_up.close()
        await self._transport.close()

    def _client(self, key: str | None, about: About) -> FlowClient:
        wishes = self._profiles.get(about.profile or "") or Wishes(self._hints)
        return FlowClient(
            encoding=self.encoding,
            access_token=key,
            language=list(wishes.language or self._settings.language),
            context=Context.of(about.hints.over(wishes.hints)),
            packet_ms=self._settings.packet_ms,
            wav=self._settings.audio == "wav",
        )

    async def _connect(self, client: FlowClient, key: str | None) -> Stream:
        url, unix = urlsplit(self._settings.url), None
        if url.scheme == "ws+unix":
            unix, url = url.path, urlsplit(f"ws://localhost{CLIENT_PATH}")
        if key is not None:
            url = url._replace(query="&".join(filter(None, (url.query, self._credentials(key)))))
        return await self._transport.connect(urlunsplit(url), headers=client.headers, unix=unix)

    async def _heal(self, error: BackendError, key: str | None) -> None:
        if isinstance(error, AnsweredInText):
            self.encoding = Encoding.JSON
            error.healed = True
        elif concerns_key(error):
            error.healed = await self._key.refused(key)

    def _credentials(self, key: str) -> str:
        """Return the query of the upgrade request (the vendor's page `client_side_auth_basics`)."""
        name = "api_key" if self._settings.api_key else "client_key"
        return f"{name}={quote(('Bearer ' if self._settings.bearer else '') + key, safe='')}"

    def _make_key(self, client_id: str) -> Key:
        settings = self._settings
        if settings.token is not None:
            desk = Transport(
                self.name, self._patience, settings.ca_file, url_key="token.url", secret_key="token.api_key"
            )
            return FetchedKey(self.name, fetch_token(self.name, settings.token, desk, client_id))
        secret = settings.client_key or settings.api_key
        return SecretKey(self.name, secret) if secret else NoKey(self.name)
