"""One connection to a backend, from the first frame to the text, in any dialect.

A session reads the utterance from its first byte and follows its tail, so it does not matter whether the user is still
speaking, or spoke yesterday.
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable
from typing import assert_never

from flowpi.audio.denoise import Filter, unfiltered
from flowpi.audio.utterance import Utterance
from flowpi.backends.patience import Patience
from flowpi.backends.result import Timings
from flowpi.backends.stream import KEEP_ALIVE_S, Stream, StreamClosed
from flowpi.core.errors import LinkError, NoText
from flowpi.host.logfields import fields
from flowpi.wire.codec import Frame
from flowpi.wire.roles import ClientRole, FinalText, Notice, PartialText, SessionReady

log = logging.getLogger(__name__)

TAKEN_BYTES = 16 * 1024
"""Half a second of audio. A service that takes less within `Patience.send_s` or `final_s` does not work on it; a ping
that is acknowledged is no sign, because the kernel does that."""

SLOWEST = 10
"""How many times as long as the speech lasted a recogniser may need if it shows all the while that it works."""


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
        heard: Filter | None = None,
    ) -> None:
        """`heard`: what the sound passes on its way to the service; None: nothing."""
        self._client = client
        self._stream = stream
        self._utterance = utterance
        self._on_partial = on_partial
        self._timings = timings
        self._patience = patience
        self._heard = heard or unfiltered()
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._shown = ""
        """The latest partial text."""
        self._worked_at = self._loop.time()
        """When the service was last seen to work: it showed another text, or took audio after the end of it."""

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
            return await self._await_text(receiving, began)
        finally:
            for task in (receiving, sending):
                task.cancel()
            await asyncio.gather(receiving, sending, return_exceptions=True)

    async def _send(self, append_bytes: int) -> None:
        client, utterance = self._client, self._utterance
        await self._open()
        packet = math.lcm(client.packet_bytes, self._heard.whole_bytes)
        append_bytes = max(packet, append_bytes - append_bytes % packet)
        sent, wanted = 0, packet  # the first packet goes as soon as it is complete
        while True:
            await utterance.wait(sent + wanted)
            pcm = utterance.read(sent, sent + append_bytes)
            if utterance.complete and sent + len(pcm) == utterance.length:
                break
            pcm = pcm[: len(pcm) - len(pcm) % packet]
            client.append(self._heard(pcm))
            self._timings.audio_at = self._timings.audio_at or self._loop.time()
            await self._flush()
            if self._timings.first_packet_at is None:
                self._timings.first_packet_at = self._loop.time()
            sent += len(pcm)
            wanted = append_bytes
        client.commit(self._heard(pcm))
        self._timings.audio_at = self._timings.audio_at or self._loop.time()
        await self._flush()
        self._timings.committed_at = self._loop.time()
        if self._timings.first_packet_at is None:
            self._timings.first_packet_at = self._timings.committed_at

    async def _await_text(self, receiving: "asyncio.Task[FinalText]", began: float) -> FinalText:
        """Wait for the text while the service works on the audio. `began`: when the session did."""
        committed, final_s, duration_s = self._loop.time(), self._patience.final_s, self._utterance.duration_s
        # Audio of yesterday is sent in a moment, but a recogniser may need as long as it lasts to hear it.
        deadline = max(committed, began + duration_s) + final_s
        latest = deadline + SLOWEST * duration_s
        untaken = self._stream.untaken_bytes()
        while (left_s := min(max(deadline, self._worked_at + final_s), latest) - self._loop.time()) > 0:
            if (await asyncio.wait((receiving,), timeout=min(KEEP_ALIVE_S, left_s)))[0]:
                return receiving.result()
            if (now_untaken := self._stream.untaken_bytes()) <= untaken - TAKEN_BYTES:
                untaken, self._worked_at = now_untaken, self._loop.time()
            await self._keep_alive()
        raise NoText(f"the backend did not send the text within {self._loop.time() - committed:.3g} s")

    def _begin(self) -> None:
        """Open the client before anything is read: the first frame of a server may come together with the upgrade."""
        for event in self._client.open():
            self._handle(event)

    async def _open(self) -> None:
        try:
            async with asyncio.timeout(self._patience.auth_s):
                await self._flush()
                await self._ready
        except TimeoutError:
            raise LinkError(f"the backend did not open the session within {self._patience.auth_s:g} s") from None

    async def _keep_alive(self) -> None:
        """Needed only while nothing is sent: the audio itself keeps the connection alive."""
        with contextlib.suppress(StreamClosed):  # the receiver knows why
            await self._stream.keep_alive()

    async def _flush(self) -> None:
        try:
            for frame in self._client.data_to_send():
                await self._send_frame(frame)
        except StreamClosed:
            pass  # the receiver knows why

    async def _send_frame(self, frame: Frame) -> None:
        """Send a frame, however long that needs, while the service takes some of what is on the way to it.

        Raises:
            LinkError: it takes nothing.
        """
        untaken = self._stream.untaken_bytes() + len(frame)

        next_check: asyncio.TimerHandle

        def check() -> None:
            nonlocal untaken, next_check
            before, untaken = untaken, self._stream.untaken_bytes()
            if untaken > before - TAKEN_BYTES:
                limit.reschedule(self._loop.time())
            else:
                next_check = self._loop.call_later(self._patience.send_s, check)

        next_check = self._loop.call_later(self._patience.send_s, check)
        try:
            async with asyncio.timeout(None) as limit:
                await self._stream.send(frame)
        except TimeoutError:
            raise LinkError(f"the backend took no audio for {self._patience.send_s:g} s") from None
        finally:
            next_check.cancel()

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
            case PartialText(text):
                if text != self._shown:
                    self._shown, self._worked_at = text, self._loop.time()
                self._on_partial(event)
            case Notice(what):
                log.debug("%s < %s", self._utterance.id, what, extra=fields(part=self._utterance.part_id))
            case FinalText():
                raise AssertionError("taken by the receiver")
            case _:
                assert_never(event)
