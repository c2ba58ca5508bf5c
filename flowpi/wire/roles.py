"""What the dialects have in common: two roles, and what each tells whoever drives it.

A role is one end of one connection, which carries one utterance. Its driver hands it each frame (`receive`), does
what the returned events say, and sends what `data_to_send` holds. No role knows a socket or a clock.
"""

from typing import Any, Protocol

from msgspec import Struct

from flowpi.wire.codec import Frame

NORMAL_CLOSES = (1000, 1005)
"""Close codes (RFC 6455) by which a peer says that it is done: with this code, or with none."""

# The client role.


class SessionReady(Struct, frozen=True):
    """Audio may be sent."""


class PartialText(Struct, frozen=True):
    """The whole text so far; replaces the one before."""

    text: str
    language: str | None


class FinalText(Struct, frozen=True):
    """The text. `confirmed` is false if the server closed after the end of the audio without saying that it is all."""

    text: str
    language: str | None
    confirmed: bool = True


class Notice(Struct, frozen=True):
    """Something to log, with no bearing on the session. `what` quotes nothing of the peer's."""

    what: str


ClientEvent = SessionReady | PartialText | FinalText | Notice


class ClientRole(Protocol):
    """The client's side of one utterance.

    Call `open`, then `append` and `commit` once `SessionReady` was returned; hand over every frame and the close.

    Attributes:
        packet_bytes: what `append` takes is a multiple of it; int16 mono 16 kHz.
    """

    packet_bytes: int

    def open(self) -> list[ClientEvent]:
        """The connection is there."""

    def append(self, pcm: bytes) -> None:
        """Send whole packets."""

    def commit(self, tail: bytes = b"") -> None:
        """Send what is left, its last packet padded with silence, and end the audio."""

    def receive(self, frame: Frame) -> list[ClientEvent]:
        """Take one frame of the server.

        Raises:
            BackendError: no text will come of this session.
        """

    def receive_close(self, code: int | None, reason: str = "") -> list[ClientEvent]:
        """The connection is closed; `code` is None where it broke.

        Raises:
            ClosedError: there is no text to take.
        """

    def data_to_send(self) -> list[Frame]: ...


# The server role.


class SessionRequested(Struct, frozen=True):
    """Answer with `accept` or `fail`. `language`: best first, empty for any."""

    access_token: str | None
    language: list[str]
    context: dict[str, Any]


class AudioReceived(Struct, frozen=True):
    """int16 little-endian mono 16 kHz."""

    pcm: bytes


class AudioCommitted(Struct, frozen=True):
    """All of the audio is here: answer with `final` or `fail`."""


ServerEvent = SessionRequested | AudioReceived | AudioCommitted


class ClientProtocolError(Exception):
    """The client left the dialect. `str()` names the rule and the field; the session is over.

    Attributes:
        close_code: what to close with (RFC 6455).
    """

    def __init__(self, problem: str, close_code: int = 1002) -> None:
        super().__init__(problem)
        self.close_code = close_code


class ServerRole(Protocol):
    """The server's side of one utterance.

    After a `ClientProtocolError`, send what `data_to_send` holds (the error is in it) and close with its code.
    """

    def open(self) -> list[ServerEvent]:
        """The connection is there."""

    def receive(self, frame: Frame) -> list[ServerEvent]:
        """Take one frame of the client.

        Raises:
            Departure: see there.
        """

    def accept(self) -> None:
        """The session that was requested is open."""

    def partial(self, text: str, language: str) -> None:
        """`text`: the whole text so far."""

    def final(self, text: str, language: str) -> None:
        """The end: send what is due, then close with 1000."""

    def fail(self, reason: str) -> None:
        """The end: send what is due, then close."""

    def data_to_send(self) -> list[Frame]: ...
