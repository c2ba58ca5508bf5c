"""Sends one client of the socket the final texts behind a given one: those in the transcripts, then those that come.

What is in the transcripts is read only as fast as the client reads. It waits for nobody else, and its messages are
never too many: at most `history.REPLAY_BYTES` of it are in memory. Once the client has all, it is a subscriber like
any other.
"""

import asyncio
import logging
from collections.abc import Callable

import msgspec

from flowpi.core import topics
from flowpi.core.errors import SpoolError
from flowpi.publish.history import History
from flowpi.publish.log_reader import Piece
from flowpi.publish.messages import TextId

log = logging.getLogger(__name__)

_BEGIN = b'{"topic":%b,"payload":' % msgspec.json.encode(topics.FINAL)


class Replay:
    """The replay for one client. Made on the loop; it runs until `close`."""

    def __init__(
        self,
        history: History,
        after: TextId,
        *,
        paused: bool,
        send: Callable[[bytes], None],
        failed: Callable[[str], None],
    ) -> None:
        """
        Args:
            paused: whether the client has something unread now: see `pause`.
            send: sends lines.
            failed: called when nothing more comes, with the reason.
        """
        self._history = history
        self._send = send
        self._failed = failed
        self._room = asyncio.Event()
        if not paused:
            self._room.set()
        self._task = asyncio.create_task(self._run(after), name="replay")

    def pause(self) -> None:
        """Send nothing of the transcripts until `resume`: the client has something unread."""
        self._room.clear()

    def resume(self) -> None:
        """Go on: the client has read everything."""
        self._room.set()

    def close(self) -> None:
        """End. Harmless if it has ended."""
        self._task.cancel()
        self._history.leave(self)

    # For the history.

    def receive(self, piece: Piece) -> None:
        """Send texts that were appended."""
        if piece.texts:
            self._send(_lines(piece))

    def fail(self, error: SpoolError) -> None:
        """Nothing more comes."""
        self._failed(str(error))

    async def _run(self, after: TextId) -> None:
        try:
            reader = await self._history.search(after, set_back=True)
            while True:
                await self._room.wait()  # before the read: what waits for the client is on the disk, not in memory
                piece = await self._history.read(reader)
                await self._room.wait()
                reader.commit(piece)
                self.receive(piece)
                if not piece.texts and not piece.more:
                    if self._history.join(reader, self):
                        return
                    await self._history.catch_up()
        except SpoolError as error:
            self.fail(error)
        except Exception:  # nobody awaits this task
            log.exception("a replay failed")
            self._failed("see the journal")


def _lines(piece: Piece) -> bytes:
    """Return texts as lines of the local socket. A line of the transcripts is the payload as the hub encodes it."""
    return b"".join(b"%b%b}\n" % (_BEGIN, text.line) for text in piece.texts)
