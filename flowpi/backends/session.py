"""One connection to a backend, from the first frame to the text, in any dialect.

Reads the utterance from its first byte and follows its tail, so it does not matter whether its owner is still
speaking, or spoke yesterday.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, assert_never

from flowpi.audio.utterance import Utterance
from flowpi.backends.result import Timings
from flowpi.backends.transport import PING_S, Patience
from flowpi.core.errors import LinkError, NoText, ProtocolError
from flowpi.host.logfields import fields
from flowpi.wire.codec import MAX_FRAME_BYTES
from flowpi.wire.roles import ClientRole, FinalText, Notice, PartialText, SessionReady

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection
    from websockets.exceptions import ConnectionClosed

log = logging.getLogger(__name__)


class Session:
    """`run` once."""

    def __init__(
        self,
        client: ClientRole,
        socket: "ClientConnection",
        utterance: Utterance,
        on_partial: Callable[[PartialText], None],
        timings: Timings,
        patience: Patience,
    ) -> None:
        self._client = client
        self._socket = socket
        self._utterance = utterance
        self._on_partial = on_partial
        self._timings = timings
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()

    async def open(self) -> None:
        """Only until audio may be sent.

        Raises:
            BackendError: the session does not open.
        """
        self._begin()
        receiving = asyncio.create_task(self._receive(), name=f"receive {self._utterance.id}")
        opening = asyncio.create_task(self._open(), name=f"open {self._utterance.id}")
        try:
            await asyncio.wait((receiving, opening), return_when=asyncio.FIRST_COMPLETED)
            if receiving.done():
                receiving.result()
            await opening
        finally:
            for task in (receiving, opening):
                task.cancel()
            await asyncio.gather(receiving, opening, return_exceptions=True)

    async def run(self, append_bytes: int) -> FinalText:
        """`append_bytes`: how much audio goes at once, a multiple of the client's `packet_bytes`.

        Raises:
            BackendError: no text came of it.
        """
        began = self._loop.time()
        self._begin()
        receiving = asyncio.create_task(self._receive(), name=f"receive {self._utterance.id}")
        sending = asyncio.create_task(self._send(append_bytes), name=f"send {self._utterance.id}")
        try:
            # The receiver ends with the text or with an error, which ends the sender too; the sender with the commit.
            await asyncio.wait((receiving, sending), return_when=asyncio.FIRST_COMPLETED)
            if receiving.done():
                return receiving.result()
            sending.result()
            # Audio of yesterday goes out in a moment, but a recogniser may take real time to hear it.
            unheard_s = max(0.0, began + self._utterance.duration_s - self._loop.time())
            async with _within(self._patience.final_s + unheard_s, "send the text", NoText):
                while not (await asyncio.wait((receiving,), timeout=PING_S))[0]:
                    await self._ping()
                return receiving.result()
        finally:
            for task in (receiving, sending):
                task.cancel()
            await asyncio.gather(receiving, sending, return_exceptions=True)

    async def _send(self, append_bytes: int) -> None:
        client, utterance = self._client, self._utterance
        await self._open()
        packet = client.packet_bytes
        sent, wanted = 0, packet  # the first packet goes as soon as it is there
        while True:
            await utterance.wait(sent + wanted)
            pcm = utterance.read(sent, sent + append_bytes)
            if utterance.complete and sent + len(pcm) == utterance.length:
                break
            pcm = pcm[: len(pcm) - len(pcm) % packet]
            client.append(pcm)
            await self._flush()
            if self._timings.first_packet_at is None:
                self._timings.first_packet_at = self._loop.time()
            sent += len(pcm)
            wanted = append_bytes
        client.commit(pcm)
        await self._flush()
        self._timings.committed_at = self._loop.time()
        if self._timings.first_packet_at is None:
            self._timings.first_packet_at = self._timings.committed_at

    def _begin(self) -> None:
        """Before anything is read: a server may say that it is ready in the same breath as the upgrade."""
        for event in self._client.open():
            self._handle(event)

    async def _open(self) -> None:
        await self._flush()
        async with _within(self._patience.auth_s, "open the session"):
            await self._ready

    async def _ping(self) -> None:
        """Something for the kernel to get acknowledged (see `transport.py`); while audio flows, that is the audio."""
        from websockets.exceptions import ConnectionClosed

        with contextlib.suppress(ConnectionClosed):  # the receiver knows why
            await self._socket.ping()

    async def _flush(self) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            for frame in self._client.data_to_send():
                async with _within(self._patience.send_s, "take the audio"):
                    await self._socket.send(frame)
        except ConnectionClosed:
            pass  # the receiver knows why

    async def _receive(self) -> FinalText:
        from websockets.exceptions import ConnectionClosed

        while True:
            try:
                events = self._client.receive(await self._socket.recv())
            except ConnectionClosed as closed:
                _raise_if_ours(closed)
                close = closed.rcvd
                events = self._client.receive_close(close.code if close else None, close.reason if close else "")
            for event in events:
                if isinstance(event, FinalText):
                    self._timings.final_at = self._loop.time()
                    return event
                self._handle(event)

    def _handle(self, event: SessionReady | PartialText | FinalText | Notice) -> None:
        match event:
            case SessionReady():
                if not self._ready.done():  # it may come in the moment in which patience ends
                    self._ready.set_result(None)
            case PartialText():
                self._on_partial(event)
            case Notice(what):
                log.debug("%s < %s", self._utterance.id, what, extra=fields(part=self._utterance.part_id))
            case FinalText():
                raise AssertionError("taken by the receiver")
            case _:
                assert_never(event)


def _raise_if_ours(closed: "ConnectionClosed") -> None:
    """The library closed the connection because of what the server sent."""
    if closed.sent is None or closed.rcvd_then_sent:
        return
    if closed.sent.code == 1009:
        raise ProtocolError(f"the server sent a message of more than {MAX_FRAME_BYTES // 1024} KiB") from None
    if closed.sent.code in (1002, 1007):
        raise ProtocolError("the server does not keep to the WebSocket protocol") from None


@asynccontextmanager
async def _within(seconds: float, what: str, error: type[LinkError] = LinkError) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise error(f"the backend did not {what} within {seconds:g} s") from None
