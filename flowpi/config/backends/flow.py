"""The settings of a backend that speaks Flow: Wispr's service, or `flowpi serve` here or on another machine."""

from collections.abc import Iterator
from typing import Annotated, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from flowpi.config.addresses import plain_text_warning, url_problems
from flowpi.config.backends.settings import Contradiction
from flowpi.config.secret import Secret
from flowpi.config.types import Text, Words, setting

LOCAL_URL = "ws+unix:///run/flowpi/asr.sock"
"""Where flowpi-asr.service listens."""


class TokenSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How to get a short-lived client key: from `url`, where `api_key` may be needed, or by `command`; never both."""

    url: Text | None = None
    api_key: Secret | None = None
    command: Words | None = None
    client_id: Text | None = None
    duration_s: Annotated[int, Meta(ge=60, le=86_400)] = 3600

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield what makes these settings unusable, and what to do."""
        if (self.url is None) == (self.command is None):
            yield "must have either url or command", "url asks a server, command runs a program"
        elif self.command is not None and self.api_key is not None:
            yield "has an api_key that the command never gets", "remove it"
        elif self.url is not None:
            yield from url_problems(self.url, ("https", "http"))


class FlowSettings(Struct, frozen=True, forbid_unknown_fields=True, tag="flow", tag_field="kind"):
    """A service that speaks the Flow dialect: Wispr's, or `flowpi serve` here or on another machine."""

    url: Annotated[Text, setting("`wss://`, `ws://` or `ws+unix://`")]
    encoding: Annotated[
        Literal["msgpack", "json"],
        setting("`msgpack` or `json`; a service that answers in JSON is asked in JSON from then on"),
    ] = "msgpack"
    client_key: Annotated[Secret | None, setting("a secret, for addresses that end in `/client_ws`")] = None
    api_key: Annotated[Secret | None, setting("a secret, for addresses that end in `/ws`")] = None
    bearer: Annotated[bool, setting("write `Bearer ` before the key")] = True
    token: Annotated[
        TokenSettings | None,
        setting(
            "how to get a client key: `{url: ..., api_key: ...}` or `{command: [program, argument]}`, see "
            "[backends](backends.md#wispr-flow-in-the-cloud)"
        ),
    ] = None
    language: Annotated[
        tuple[Text, ...],
        setting("best first; `[]`: the service finds out. `flowpi serve` understands those of its [model](models.md)"),
    ] = ("en",)
    packet_ms: Annotated[int, setting("duration of every packet", ge=10, le=1000)] = 100
    # 5 s are 160 KB of PCM and 213 KB as base64, so one append fits in a frame of 256 KiB.
    append_ms: Annotated[int, setting("how much audio goes at once, in whole packets", ge=10, le=5000)] = 1000
    audio: Annotated[Literal["wav", "pcm"], setting("`pcm`, or `wav`: a header on each packet")] = "pcm"
    warm_up_s: Annotated[
        int, setting("keep the service warm for so long after a dictation; 0: not", ge=0, le=86_400)
    ] = 0
    ca_file: Annotated[Text | None, setting("PEM: an authority to trust beside those of the system")] = None

    @property
    def endpoint(self) -> str:
        return self.url

    @property
    def on_this_machine(self) -> bool:
        return self.url.startswith("ws+unix:")

    def contradictions(self) -> Iterator[Contradiction]:
        for problem, hint in url_problems(self.url, ("ws", "wss", "ws+unix")):
            yield Contradiction("url", problem, hint)
        if self.append_ms % self.packet_ms:
            problem = f"is not a multiple of packet_ms {self.packet_ms}"
            yield Contradiction("append_ms", problem, "an append is whole packets")
        keys = [name for name in ("client_key", "api_key", "token") if getattr(self, name) is not None]
        if len(keys) > 1:
            yield Contradiction(keys[1], f"and {keys[0]} exclude each other", "keep one")
        if self.token is not None:
            for problem, hint in self.token.problems():
                yield Contradiction("token", problem, hint)

    def warnings(self, key: str) -> Iterator[str]:
        path = urlsplit(self.url).path
        if (self.api_key and path.endswith("/client_ws")) or (self.client_key and path.endswith("/ws")):
            yield f"{key}: api_key is for addresses that end in /ws, client_key for /client_ws"
        if self.token and self.token.api_key and (self.token.url or "").startswith("http://"):
            yield from plain_text_warning(f"{key}.token", self.token.url or "", "https")
        if (self.client_key or self.api_key or self.token) and self.url.startswith("ws://"):
            yield from plain_text_warning(key, self.url, "wss")
