"""A connection to the daemon: for the messages of some topics and texts of before, or for reports."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from flowpi.core.errors import DaemonUnavailable
from flowpi.publish.messages import SinkReport, TextId

ANSWER_S = 15.0
LINE_BYTES = 4 << 20
"""The longest line that the daemon may send; twice as much waits here at most while a text is tried again."""

NO_SUCH_SINK = ("no_such_sink", "bad_request")
"""How a daemon answers that keeps no texts for the sink, and one of before that knows no sinks."""

BEFORE_ALL = TextId("0" * 26, 0)
"""What comes before every text."""


class Line(msgspec.Struct):
    """A line of the daemon, as far as a sink needs it."""

    hello: Any = None
    topic: str = ""
    payload: Any = None
    error: Any = None
    ok: bool | None = None
    transcripts: list[dict[str, Any]] = []
    sinks: list[dict[str, Any]] = []
    more: bool = False
    do: str = ""


class Feed:
    """One connection. Every method raises DaemonUnavailable if it is lost, or if the daemon refuses something."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def first_position(self, sink: str) -> TextId:
        """Return the text behind which the daemon keeps texts for a sink; the newest one if it keeps none."""
        newest = await self._newest()  # before the other question: a text that comes between the two must count
        async with _in_time():
            self._send({"command": "sinks", "action": "list", "sinks": [sink], "request": 1})
            _, answer = await self._line()
        if isinstance(answer.error, dict) and answer.error.get("code") in NO_SUCH_SINK:
            return newest
        _check(answer)
        for one in answer.sinks:
            if one.get("last") is not None:
                return msgspec.convert(one["last"], TextId)
            if one.get("waiting"):
                return BEFORE_ALL
        return newest

    async def _newest(self) -> TextId:
        """Return the last text that there is, or `BEFORE_ALL`."""
        answer = await self._ask({"command": "transcripts", "order": "newest", "limit": 1})
        if not answer.transcripts:
            return BEFORE_ALL
        return msgspec.convert(answer.transcripts[0], TextId)

    async def text(self, wanted: TextId) -> dict[str, Any] | None:
        """Return the payload of a text, or None if the daemon does not have it any more."""
        after = {"id": wanted.id, "part": wanted.part - 1}
        while True:
            answer = await self._ask({"command": "transcripts", "after": after, "limit": 500})
            for one in answer.transcripts:
                if (one["id"], one["part"]) == (wanted.id, wanted.part):
                    return one
            if not answer.more or not answer.transcripts:
                return None
            after = {name: answer.transcripts[-1][name] for name in ("id", "part")}

    async def subscribe(self, filters: Sequence[str], after: TextId | None) -> None:
        """Ask for the messages of some topics; the texts among them begin behind `after`."""
        follows = {} if after is None else {"after": {"id": after.id, "part": after.part}}
        async with _in_time():
            self._send({"subscribe": list(filters), **follows})
            await self.read()

    def report(self, report: SinkReport) -> None:
        """Report how the sink is. It is answered when the sink is to do something, or reports again."""
        self._send({"command": "sinks", "action": "report", "report": report, "wait": True, "request": 1})

    async def read(self) -> tuple[bytes, Line]:
        """Return the next line, also decoded. After this was cancelled, nothing more can be read."""
        line, message = await self._line()
        _check(message)
        return line, message

    async def answer(self) -> Line:
        """Return the next line, decoded, also if it is an error."""
        return (await self._line())[1]

    async def _line(self) -> tuple[bytes, Line]:
        try:
            line = await self._reader.readuntil(b"\n")
            message = msgspec.json.decode(line, type=Line)
        except (asyncio.IncompleteReadError, OSError) as error:
            raise DaemonUnavailable("the daemon went away") from error
        except (asyncio.LimitOverrunError, msgspec.MsgspecError, ValueError) as error:
            raise DaemonUnavailable(f"the daemon sent no message of flowpi ({type(error).__name__})") from error
        return line, message

    def close(self) -> None:
        """Close it. `read` raises then."""
        self._writer.close()

    async def _ask(self, request: dict[str, Any]) -> Line:
        async with _in_time():
            self._send({**request, "request": 1})
            _, answer = await self.read()
        return answer

    def _send(self, request: dict[str, Any]) -> None:
        self._writer.write(msgspec.json.encode(request) + b"\n")


def _check(message: Line) -> None:
    """Raises DaemonUnavailable if a line is an error."""
    if isinstance(message.error, dict):
        raise DaemonUnavailable(f"the daemon says: {message.error.get('message')}")


@contextlib.asynccontextmanager
async def connected(path: Path) -> AsyncIterator[Feed]:
    """Connect to the daemon for the length of a block. Raises DaemonUnavailable."""
    try:
        async with _in_time():
            reader, writer = await asyncio.open_unix_connection(path, limit=LINE_BYTES)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise DaemonUnavailable(f"no daemon answers on {str(path)!r} ({why})", "it is tried again") from error
    try:
        feed = Feed(reader, writer)
        async with _in_time():
            _, hello = await feed.read()
        if hello.hello is None:
            raise DaemonUnavailable(f"what answers on {str(path)!r} is no flowpi", "check publish.socket.path")
        yield feed
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    """Give the daemon `ANSWER_S` for a block. Raises DaemonUnavailable."""
    try:
        async with asyncio.timeout(ANSWER_S):
            yield
    except TimeoutError:
        raise DaemonUnavailable("the daemon does not answer") from None
