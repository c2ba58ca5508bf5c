"""What the clients of the local socket share: turns of the event loop, and memory for what they have not read."""

import asyncio
import logging
from collections import deque
from typing import Protocol

from flowpi.host.log_limit import LogLimit

log = logging.getLogger(__name__)
log.addFilter(LogLimit())

MAX_QUEUES_BYTES = 32 << 20
"""All queues together: an eighth of the memory that the unit allows."""

READ_BYTES = 16 * 1024
"""The most that is read from a client at once."""

TURN_S = 0.002
"""How long all clients together may hold up the loop before timers and other sockets have their turn."""


class Client(Protocol):
    """What is asked of a client: see `socket_client.SocketClient`."""

    @property
    def is_connected(self) -> bool: ...
    def work_off(self) -> bool: ...
    def forget_queue(self) -> None: ...
    def drop(self, code: str, message: str) -> None: ...


class ClientTurns:
    """Gives clients their turns, one after the other, for `TURN_S` in each turn of the loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Client] = deque()
        self.buffer = memoryview(bytearray(READ_BYTES))
        """What is being read: one for all, since it is emptied before the next client is read."""

    def add(self, client: Client) -> None:
        """Let a client work off its lines."""
        self._waiting.append(client)
        if len(self._waiting) == 1:
            self._loop.call_soon(self._run)

    def _run(self) -> None:
        end = self._loop.time() + TURN_S
        while self._waiting:
            client = self._waiting.popleft()
            try:
                more = client.work_off()
            except Exception:  # a bug met by one client must not end the turns of all
                log.exception("a line of a client failed")
                client.drop("internal", "the line failed: see the journal")
                more = False
            if more:
                self._waiting.append(client)
            if self._loop.time() >= end:
                break
        if self._waiting:
            self._loop.call_soon(self._run)  # after the timers that are due by then, and what other sockets sent


class QueueBudget:
    """Counts what waits for all clients."""

    def __init__(self) -> None:
        self._queued: dict[Client, int] = {}
        self._total = 0

    def add(self, client: Client, size: int) -> None:
        """Count bytes for a client. The one with the longest queue is dropped if there are too many."""
        self._queued[client] = self._queued.get(client, 0) + size
        self._total += size
        if self._total > MAX_QUEUES_BYTES:
            fullest = max(self._queued, key=lambda one: (one.is_connected, self._queued[one]))
            fullest.forget_queue()  # or the memory would be held for `DROP_S` more, and the next one be dropped as well
            fullest.drop("too_slow", f"more than {MAX_QUEUES_BYTES} bytes are waiting for all clients")

    def remove(self, client: Client, size: int | None = None) -> None:
        """Count bytes no more; None for all of a client."""
        size = self._queued.get(client, 0) if size is None else size
        self._total -= size
        left = self._queued.pop(client, 0) - size
        if left > 0:
            self._queued[client] = left
