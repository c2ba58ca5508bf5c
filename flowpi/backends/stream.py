"""What a session needs of a connection: frames in both directions, whatever carries them."""

from typing import Protocol

from flowpi.wire.codec import Frame

KEEP_ALIVE_S = 2.0
"""How often a session that waits for its text calls `Stream.keep_alive`."""


class StreamClosed(Exception):
    """The connection is over.

    Attributes:
        code: the peer's reason as a close code of RFC 6455; None if the connection broke.
        reason: the peer's words, or nothing.
    """

    def __init__(self, code: int | None, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class Stream(Protocol):
    """An open connection to a service, which carries one utterance. One task sends, another one receives.

    Cancelling any call is safe; a frame whose sending was cancelled may or may not have gone, and nothing may be sent
    after it.
    """

    async def send(self, frame: Frame) -> None:
        """Send a frame; return once the kernel has room for the next one.

        Raises:
            StreamClosed: the connection is over. `receive` says why, after the frames that came before the end.
        """

    async def receive(self) -> Frame:
        """Return the next frame of the service, in the order in which they were sent.

        Raises:
            StreamClosed: the connection is over, and all frames have been returned.
            LinkLost: the same, and it was this side that ended it, because the network carries nothing.
            ProtocolError: the service broke the rules of the connection itself.
        """

    def untaken_bytes(self) -> int:
        """Return how much of what was sent the other end has not taken, in any measure that shrinks when it takes some.

        A slow service takes more after a while; one that hangs does not.
        """

    async def keep_alive(self) -> None:
        """See to it that something is on its way that the other end's kernel must acknowledge, and notice a dead link.

        Never waits for the service.

        Raises:
            StreamClosed: as `send`.
        """

    async def close(self) -> None:
        """Say goodbye and end the connection, soon, whatever the service does. Harmless if it is over."""

    async def wait_closed(self) -> None:
        """Wait until the connection is over at both ends."""
