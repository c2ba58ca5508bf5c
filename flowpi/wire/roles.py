"""What the dialects have in common: two roles, and the events that each returns to its driver.

A role is one end of one connection, which carries one utterance. Its driver passes it each frame (`receive`), acts on
the returned events, and sends the frames of `data_to_send`. A role has no socket and no clock.
"""

from typing import Protocol

from msgspec import Struct

from flowpi.wire.codec import Frame

NORMAL_CLOSES = (1000, 1005)
"""The close codes (RFC 6455) of a peer that is done: 1000, or a close frame without a code."""

MAX_UNREADABLE = 100
"""How many frames of a server that cannot be read are passed over in one session: a hundred interim texts."""

MAX_UNREADABLE_BYTES = 4 * 1024
"""The bound on all of these frames together: reading them costs time."""

# The client role.


class SessionReady(Struct, frozen=True):
    """Audio may be sent."""


class PartialText(Struct, frozen=True):
    """The whole text so far; replaces the one before."""

    text: str
    language: str | None


class FinalText(Struct, frozen=True):
    """The text. `confirmed` is false if the server closed after the end of the audio without calling the text final."""

    text: str
    language: str | None
    confirmed: bool = True


class Notice(Struct, frozen=True):
    """Something to log that does not affect the session. `what` quotes nothing that the peer sent."""

    what: str


ClientEvent = SessionReady | PartialText | FinalText | Notice


class ClientRole(Protocol):
    """The client's side of one utterance.

    Call `open`, then `append` and `commit` once `SessionReady` was returned; pass every frame and the close.

    Attributes:
        packet_bytes: the size of a packet; `append` accepts multiples of it, int16 mono 16 kHz.
    """

    packet_bytes: int

    def open(self) -> list[ClientEvent]:
        """Begin: the connection is open."""

    def append(self, pcm: bytes) -> None:
        """Send whole packets."""

    def commit(self, tail: bytes = b"") -> None:
        """Send the rest, its last packet padded with silence, and end the audio."""

    def receive(self, frame: Frame) -> list[ClientEvent]:
        """Read one frame of the server.

        Raises:
            BackendError: no text will come of this session.
        """

    def receive_close(self, code: int | None, reason: str = "") -> list[ClientEvent]:
        """End: the connection is closed. `code` is None if it broke.

        Raises:
            ClosedError: no text came that may count.
        """

    def data_to_send(self) -> list[Frame]: ...


# The server role.


class SessionRequested(Struct, frozen=True):
    """Answer with `accept` or `fail`.

    Attributes:
        language: best first, empty for any.
        phrases: names and words that may occur, usable and no more than `phrases.MOST`.
    """

    access_token: str | None
    language: list[str]
    phrases: tuple[str, ...] = ()


class AudioReceived(Struct, frozen=True):
    """int16 little-endian mono 16 kHz."""

    pcm: bytes


class AudioCommitted(Struct, frozen=True):
    """All of the audio has come: answer with `final` or `fail`."""


ServerEvent = SessionRequested | AudioReceived | AudioCommitted


class ClientProtocolError(Exception):
    """The client left the dialect. `str()` names the rule and the field; the session is over.

    Attributes:
        close_code: the code to close the connection with (RFC 6455).
    """

    def __init__(self, problem: str, close_code: int = 1002) -> None:
        super().__init__(problem)
        self.close_code = close_code


class ServerRole(Protocol):
    """The server's side of one utterance.

    After a `ClientProtocolError`, send the frames of `data_to_send` (the error is in them) and close with its code.
    """

    def open(self) -> list[ServerEvent]:
        """Begin: the connection is open."""

    def receive(self, frame: Frame) -> list[ServerEvent]:
        """Read one frame of the client.

        Raises:
            ClientProtocolError: the client left the dialect.
        """

    def accept(self) -> None:
        """Open the session that was requested."""

    def partial(self, text: str, language: str) -> None:
        """Send a partial text. `text`: the whole text so far."""

    def final(self, text: str, language: str) -> None:
        """Send the final text. Then send the frames that are left and close with 1000."""

    def fail(self, reason: str) -> None:
        """Refuse. Then send the frames that are left and close."""

    def data_to_send(self) -> list[Frame]: ...
