"""One connection to a backend, from the first frame to the text, in any dialect.

A session reads the utterance from its first byte and follows its tail, so it does not matter whether the user is still
speaking, or spoke yesterday.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import assert_never

from flowpi.audio.utterance import Utterance
from flowpi.backends.patience import Patience
from flowpi.backends.result import Timings
from flowpi.backends.stream import KEEP_ALIVE_S, Stream, StreamClosed
from flowpi.core.errors import LinkError, NoText
from flowpi.host.logfields import fields
from flowpi.wire.roles import ClientRole, FinalText, Notice, PartialText, SessionReady

log = logging.getLogger(__name__)


class Session:
    """Drives the client's side of one utterance over one stream. Call `run` or `open`, once.

    Two tasks share the stream. When it ends, only the receiver reports that: a frame with the service's reason may
    still wait to be read when the sender meets the end of the connection.
    """

    def __init__(
        self,
        client: ClientRole,
        stream: Stream,
        utterance: Utterance,
        on_partial: Callable[[PartialText], None],
        timings: Timings,
        patience: Patience,
    ) -> None:
        self._client = client
        self._stream = stream
        self._utterance = utterance
        self._on_partial = on_partial
        self._timings = timings
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()

    async def open(self) -> None:
        """Open the session, until audio may be sent, and no further.

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
        """Send all of the utterance and return its text. Cancelling ends both tasks; the stream stays the caller's.

        `append_bytes`: how much audio goes at once, a multiple of the client's `packet_bytes`.

        Raises:
            BackendError: there is no text.
        """
        began = self._loop.time()
        self._begin()
        receiving = asyncio.create_task(self._receive(), name=f"receive {self._utterance.id}")
        sending = asyncio.create_task(self._send(append_bytes), name=f"send {self._utterance.id}")
        try:
            # The receiver ends with the text or an error, which ends the sender too; the sender ends with the commit.
            await asyncio.wait((receiving, sending), return_when=asyncio.FIRST_COMPLETED)
            # Both may have ended in the same turn of the loop: the service's answer counts before our failure to send.
            if receiving.done():
                return receiving.result()
            sending.result()
            # Audio of yesterday is sent in a moment, but a recogniser may need as long as it lasts to hear it.
            unheard_s = max(0.0, began + self._utterance.duration_s - self._loop.time())
            async with _within(self._patience.final_s + unheard_s, "send the text", NoText):
                while not (await asyncio.wait((receiving,), timeout=KEEP_ALIVE_S))[0]:
                    await self._keep_alive()
                return receiving.result()
        finally:
            for task in (receiving, sending):
                task.cancel()
            await asyncio.gather(receiving, sending, return_exceptions=True)

    async def _send(self, append_bytes: int) -> None:
        client, utterance = self._client, self._utterance
        await self._open()
        packet = client.packet_bytes
        sent, wanted = 0, packet  # the first packet goes as soon as it is complete
        while True:
            await utterance.wait(sent + wanted)
            pcm = utterance.read(sent, sent + append_bytes)
            if utterance.complete and sent + len(pcm) == utterance.length:
                break
            pcm = pcm[: len(pcm) - len(pcm) % packet]
            client.append(pcm)
            self._timings.audio_at = self._timings.audio_at or self._loop.time()
            await self._flush()
            if self._timings.first_packet_at is None:
                self._timings.first_packet_at = self._loop.time()
            sent += len(pcm)
            wanted = append_bytes
        client.commit(pcm)
        self._timings.audio_at = self._timings.audio_at or self._loop.time()
        await self._flush()
        self._timings.committed_at = self._loop.time()
        if self._timings.first_packet_at is None:
            self._timings.first_packet_at = self._timings.committed_at

    def _begin(self) -> None:
        """Open the client before anything is read: the first frame of a server may come together with the upgrade."""
        for event in self._client.open():
            self._handle(event)

    async def _open(self) -> None:
        await self._flush()
        async with _within(self._patience.auth_s, "open the session"):
            await self._ready

    async def _keep_alive(self) -> None:
        """Needed only while nothing is sent: the audio itself keeps the connection alive."""
        with contextlib.suppress(StreamClosed):  # the receiver knows why
            await self._stream.keep_alive()

    async def _flush(self) -> None:
        try:
            for frame in self._client.data_to_send():
                async with _within(self._patience.send_s, "take the audio"):
                    await self._stream.send(frame)
        except StreamClosed:
            pass  # the receiver knows why

    async def _receive(self) -> FinalText:
        while True:
            try:
                events = self._client.receive(await self._stream.receive())
            except StreamClosed as closed:
                events = self._client.receive_close(closed.code, closed.reason)
            for event in events:
                if isinstance(event, FinalText):
                    self._timings.final_at = self._loop.time()
                    return event
                self._handle(event)

    def _handle(self, event: SessionReady | PartialText | FinalText | Notice) -> None:
        match event:
            case SessionReady():
                if not self._ready.done():  # it may come in the moment in which the time limit ends
                    self._ready.set_result(None)
            case PartialText():
                self._on_partial(event)
            case Notice(what):
                log.debug("%s < %s", self._utterance.id, what, extra=fields(part=self._utterance.part_id))
            case FinalText():
                raise AssertionError("taken by the receiver")
            case _:
                assert_never(event)


@asynccontextmanager
async def _within(seconds: float, what: str, error: type[LinkError] = LinkError) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise error(f"the backend did not {what} within {seconds:g} s") from None
