"""One connection of the local socket: its lines come in by turns, its messages wait in a queue of their own.

Two things are shared among all clients, because a thousand of them may connect:

- `ClientTurns` shares the event loop. What a client sends is read in small pieces, and not read on before its lines are
  worked off; all clients together have `shares.TURN_S` of each turn of the loop. A flood makes its sender wait, and
  never the microphone.
- `QueueBudget` shares the memory for messages that a client has not read yet.
"""

import asyncio
import logging
import select
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from msgspec import Struct

from flowpi.core import topics
from flowpi.core.safe_text import escaped
from flowpi.core.topics import filter_error, matches
from flowpi.core.ulid import is_ulid
from flowpi.host.log_limit import LogLimit
from flowpi.publish.history import History
from flowpi.publish.hub import Hub, Message, Subscription
from flowpi.publish.messages import Problem, Request, TextId
from flowpi.publish.replay import Replay
from flowpi.publish.shares import ClientTurns, QueueBudget

log = logging.getLogger(__name__)
log.addFilter(LogLimit())

MAX_LINE_BYTES = 64 * 1024
MAX_QUEUE_BYTES = 256 * 1024
SEND_BUFFER_BYTES = 64 * 1024
"""What the kernel may hold for a client, which the unit pays for as well; it doubles this."""

LINES_A_TURN = 4
"""The most lines of one client before the next client has its turn."""

MAX_FILTERS = 64
"""The most filters of one client: each costs a comparison for each topic, and memory while it is subscribed."""

MAX_REQUESTS = 32
"""The most commands of one client that are not answered yet. More is a mistake or an attack."""

MAX_REQUEST_BYTES = 1024
"""The longest `request`, which is copied to the response."""

DROP_S = 5.0
"""How long a dropped client has to read the reason."""

NEWEST_ONLY = frozenset({topics.PARTIAL, topics.LEVEL})
"""The topics of which an old message is worth nothing once there is a new one."""

Command = Callable[[Request], Awaitable[dict[str, Any] | Problem]]
"""Executes a command. Returns the members of the response, or what is wrong with it."""

ClientCommand = Callable[[Request, int | None], Awaitable[dict[str, Any] | Problem]]
"""The same for a client of the socket, with its user id."""


class Shared(Struct):
    """What all clients of a socket have in common.

    Attributes:
        hello: the first message to each.
        history: the texts of before; None if clients cannot ask for them.
        clients: those that are connected, dropped ones that have not read the reason included.
    """

    hub: Hub
    command: ClientCommand
    hello: dict[str, Any]
    turns: ClientTurns
    queues: QueueBudget
    history: History | None
    clients: "set[SocketClient]"


class SocketClient(asyncio.BufferedProtocol):
    """The protocol of one connection."""

    def __init__(
        self, shared: Shared, admit: Callable[[socket.socket], int | Problem], on_end: Callable[[int], None]
    ) -> None:
        """
        Args:
            admit: returns the user id of a client that may stay, or why it may not.
            on_end: called with the user id when the connection of such a client has ended.
        """
        self._shared = shared
        self._admit = admit
        self._on_end = on_end
        self._user: int | None = None
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._subscription: Subscription | None = None
        self._replay: Replay | None = None
        """What sends the final texts, if the client asked for those of before: the hub's are not for it then."""
        self._requests: set[asyncio.Task[None]] = set()
        self._said_all = False
        self._gone: select.epoll | None = None
        self._writable = True
        self._stalled = False
        """Whether lines wait for the client to read."""
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._newest: dict[str, bytes] = {}
        """By topic: what waits behind the queue, and only as long as nothing newer comes."""

    @property
    def is_connected(self) -> bool:
        """Whether the client is neither gone nor dropped."""
        return self._transport is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        peer = transport.get_extra_info("socket")
        admitted = self._admit(peer)
        if isinstance(admitted, Problem):
            # The reason fits into the kernel's buffer, so nothing of a refused client stays: not its descriptor either.
            transport.write(msgspec.json.encode({"error": admitted}) + b"\n")
            transport.close()
            return
        self._user = admitted
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        transport.set_write_buffer_limits(high=0)
        self._transport = transport
        self._shared.clients.add(self)
        self._send({"hello": self._shared.hello})

    # What the client sends.

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._shared.turns.buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._transport is None:  # dropped: what it still sends is ignored, so that it can read the reason
            return
        self._buffer += self._shared.turns.buffer[:nbytes]
        if b"\n" in self._shared.turns.buffer[:nbytes].tobytes() or len(self._buffer) > MAX_LINE_BYTES:
            self._transport.pause_reading()
            self._shared.turns.add(self)

    def work_off(self) -> bool:
        """Execute some of the lines that were read. Return whether more are left that can be executed now."""
        if not self._writable:  # what a client asks for waits until it has read the answers to what it asked before
            self._stalled = True
            return False
        at = 0
        for _ in range(LINES_A_TURN):
            end = self._buffer.find(b"\n", at)
            if end < 0 or end - at > MAX_LINE_BYTES or self._transport is None or not self._writable:
                break
            line = bytes(self._buffer[at:end])
            at = end + 1
            if line.strip():
                self._receive(line)
        else:
            end = self._buffer.find(b"\n", at)
        del self._buffer[:at]
        if self._transport is None:
            return False
        if end - at > MAX_LINE_BYTES or (end < 0 and len(self._buffer) > MAX_LINE_BYTES):
            self.drop("line_too_long", f"a line is at most {MAX_LINE_BYTES} bytes")
            return False
        if end >= 0:
            return True
        self._transport.resume_reading()
        return False

    def eof_received(self) -> bool:
        """Leave the connection open if the client may still read responses, or messages it is subscribed to."""
        self._said_all = True
        if self._buffer.strip() and self._transport is not None:  # the last line needs no newline
            self._receive(bytes(self._buffer))
        if self._transport is None or not (self._requests or self._subscription):
            return False
        self._watch_for_its_end(self._transport)
        return True

    def _watch_for_its_end(self, transport: asyncio.Transport) -> None:
        """Notice when the client is gone. After its end of file nothing is read from it, which would show that."""
        self._gone = select.epoll()
        self._gone.register(transport.get_extra_info("socket"), 0)  # no event but a hang-up
        asyncio.get_running_loop().add_reader(self._gone, transport.abort)

    def _receive(self, line: bytes) -> None:
        """Execute one line of the client."""
        try:
            request = msgspec.json.decode(line, type=Request)
        except (msgspec.MsgspecError, RecursionError, ValueError) as error:
            self._refuse("bad_request", f"not a request: {str(error)[:200]}", _request_of(line))
            return
        if request.request is not None and len(msgspec.json.encode(request.request)) > MAX_REQUEST_BYTES:
            self._refuse("bad_request", f"request is longer than {MAX_REQUEST_BYTES} bytes")
        elif not isinstance(request.subscribe, msgspec.UnsetType):
            if isinstance(request.command, msgspec.UnsetType):
                self._subscribe(request.subscribe, request.after, request.request)
            else:
                self._refuse("bad_request", "a line has a subscribe or a command, not both", request.request)
        elif len(self._requests) >= MAX_REQUESTS:
            self.drop("too_many_requests", f"{MAX_REQUESTS} are not answered yet")
        else:
            task = asyncio.create_task(self._answer(request), name="request")
            self._requests.add(task)
            task.add_done_callback(self._answered)

    def _refuse(self, code: str, message: str, request: Any = None) -> None:
        """Send what is wrong with a line, as the response to its `request` if it has one."""
        error = {"error": Problem(code, message)}
        self._send(error if request is None else {"response": request, "ok": False, **error})

    def _subscribe(self, filters: list[str], after: str | TextId | msgspec.UnsetType, request: Any) -> None:
        """Add filters to those of the client, or send it what is wrong with them.

        Args:
            after: the text behind which the final texts begin; UNSET for those that come.
        """
        for one in filters:
            if problem := filter_error(one):
                self._refuse("bad_filter", f"{one[:100]!r}: {problem}", request)
                return
        known = self._subscription.filters if self._subscription else ()
        if len({*known, *filters}) > MAX_FILTERS:
            self._refuse("bad_filter", f"a client has at most {MAX_FILTERS} filters", request)
            return
        if (problem := self._replay_problem(filters, after)) is not None:
            self._refuse("bad_request", problem, request)
            return
        self._send({"subscribed": filters})
        if self._subscription is None:
            self._subscription = self._shared.hub.subscribe((), self._deliver)
        if not set(known).issuperset(filters):
            self._subscription.add([one for one in filters if one not in known])
        if isinstance(after, TextId) and self._shared.history is not None and self._transport is not None:
            self._replay = Replay(
                self._shared.history,
                after,
                paused=not self._writable,
                send=self._write,
                failed=lambda why: self.drop("transcripts", why),
            )

    def _replay_problem(self, filters: list[str], after: str | TextId | msgspec.UnsetType) -> str | None:
        """Return why a client cannot have the texts behind `after`, or None if it can."""
        if isinstance(after, msgspec.UnsetType):
            return None
        if not isinstance(after, TextId) or not is_ulid(after.id):
            return "after is the id and the part of a text"
        if not any(matches(one, topics.FINAL) for one in filters):
            return f"after needs a filter for {topics.FINAL}"
        if self._replay is not None:
            return "after was said before: connect again"
        return "there are no transcripts" if self._shared.history is None else None

    async def _answer(self, request: Request) -> None:
        """Execute a command and send its response."""
        answer = await self._shared.command(request, self._user)
        if isinstance(answer, Problem):
            self._send({"response": request.request, "ok": False, "error": answer})
        else:
            self._send({"response": request.request, "ok": True, **answer})

    def _answered(self, task: asyncio.Task[None]) -> None:
        """Report a command that failed by a bug, and close a connection on which nothing is left to do."""
        self._requests.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("a command failed", exc_info=error)
            self._send({"error": Problem("internal", "the command failed: see the journal")})
        if self._said_all and not self._requests and not self._subscription and self._transport:
            self._flush(self._transport)
            self._transport.close()

    # What the client receives.

    def _deliver(self, message: Message, retained: bool) -> None:
        if message.topic == topics.FINAL and self._replay is not None:
            return
        line = message.retained_line if retained else message.line
        if message.topic in NEWEST_ONLY and not self._writable:
            self._newest[message.topic] = line
            return
        if message.topic in (topics.FINAL, topics.FAILED):
            self._newest.pop(topics.PARTIAL, None)  # what was partial has become final
        self._write(line)

    def _send(self, message: dict[str, Any]) -> None:
        self._write(escaped(msgspec.json.encode(message)) + b"\n")

    def _write(self, line: bytes) -> None:
        """Send a line, now or when the client has read those before it. Drop the client if too many wait."""
        if self._transport is None or self._transport.is_closing():
            return
        if self._writable:
            self._transport.write(line)
        elif self._queued + len(line) > MAX_QUEUE_BYTES:
            self.drop("too_slow", f"more than {MAX_QUEUE_BYTES} bytes are waiting for you")
        else:
            self._queue.append(line)
            self._queued += len(line)
            self._shared.queues.add(self, len(line))

    def pause_writing(self) -> None:
        self._writable = False
        if self._replay is not None:
            self._replay.pause()

    def resume_writing(self) -> None:
        self._writable = True
        while self._writable and self._queue and self._transport is not None:
            lines = [self._queue.popleft()]
            size = len(lines[0])
            while self._queue and size + len(self._queue[0]) <= SEND_BUFFER_BYTES:  # few large writes, not many small
                lines.append(self._queue.popleft())
                size += len(lines[-1])
            self._queued -= size
            self._shared.queues.remove(self, size)
            self._transport.write(b"".join(lines))
        while self._writable and self._newest and self._transport is not None:
            self._transport.write(self._newest.pop(next(iter(self._newest))))
        if self._writable and self._replay is not None:
            self._replay.resume()
        if self._writable and self._stalled:
            self._stalled = False
            self._shared.turns.add(self)

    def _flush(self, transport: asyncio.Transport) -> None:
        """Hand over all that waits: nothing is queued any more after it. It still counts until the connection ends."""
        for line in self._queue:
            transport.write(line)
        self._queue.clear()

    def forget_queue(self) -> None:
        """Discard what waits."""
        self._queue.clear()
        self._queued = 0
        self._shared.queues.remove(self)

    # The end.

    def drop(self, code: str, message: str) -> None:
        """Send what waits and the reason, and disconnect. After `DROP_S` the connection is cut."""
        transport, self._transport = self._transport, None
        self._leave()
        if transport is None:
            return
        log.warning("a client of the socket is dropped: %s", code)
        self._flush(transport)
        transport.write(msgspec.json.encode({"error": Problem(code, message)}) + b"\n")
        transport.write_eof()
        transport.resume_reading()
        asyncio.get_running_loop().call_later(DROP_S, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._queue.clear()
        self._shared.queues.remove(self)
        self._shared.clients.discard(self)
        if self._user is not None:
            self._on_end(self._user)
        if self._gone is not None:
            asyncio.get_running_loop().remove_reader(self._gone)
            self._gone.close()
        self._leave()
        for task in self._requests:
            task.cancel()

    def _leave(self) -> None:
        """End what the client has in the hub. Harmless if it has ended."""
        if self._subscription is not None:
            self._subscription.close()
            self._subscription = None
        if self._replay is not None:
            self._replay.close()


class _Named(Struct):
    """What of a bad line may still be understood."""

    request: Any = None


def _request_of(line: bytes) -> Any:
    """Return the `request` of a line that is no request, or None if there is none that may be copied."""
    try:
        request = msgspec.json.decode(line, type=_Named).request
        return request if len(msgspec.json.encode(request)) <= MAX_REQUEST_BYTES else None
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None
