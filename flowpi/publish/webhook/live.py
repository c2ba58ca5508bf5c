"""Sends the messages of a webhook that are no final texts: once, one after the other, and only while it is open.

Nothing waits for them, and they wait for nothing but one another: what is lost of them is gone, as for a subscriber
who was away. A receiver that is slower than what happens misses the oldest.
"""

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from flowpi.core.errors import SinkError
from flowpi.core.ulid import UlidFactory
from flowpi.publish.hub import Message
from flowpi.publish.webhook.request import live_body_of
from flowpi.publish.webhook.sender import Sender
from flowpi.publish.webhook.verdict import Answer

log = logging.getLogger(__name__)

MOST_WAITING = 32
"""The most messages that wait to be sent; of more, the oldest are dropped."""


class _Waiting(NamedTuple):
    """A message that waits. `id` and `body` are those of its request."""

    id: str
    topic: str
    json: bytes
    body: bytes


class Live:
    """The messages that wait, and what sends them."""

    def __init__(self, sender: Sender, unix_time: Callable[[], float]) -> None:
        self._sender = sender
        self._unix_time = unix_time
        self._ids = UlidFactory()
        self._waiting: deque[_Waiting] = deque(maxlen=MOST_WAITING)
        self._news = asyncio.Event()
        self._accepted: dict[str, bytes] = {}
        """The payload that the receiver accepted last, by topic."""
        self._failing = False

    async def run(self) -> None:
        """Send what is queued while the sender is open, until this is cancelled."""
        while True:
            while not self._waiting:
                self._news.clear()
                await self._news.wait()
            message = self._waiting.popleft()
            self._sent(message, await self._send(message))

    def drop(self) -> None:
        """Forget what waits."""
        self._waiting.clear()

    def receive(self, message: Message, retained: bool) -> None:
        """Queue a message. A retained one that the receiver has already is not repeated each time that this opens."""
        if retained and self._accepted.get(message.topic) == message.json:
            return
        now_s = self._unix_time()
        message_id = self._ids.make(int(now_s * 1000), os.urandom(10))
        body = live_body_of(message.topic, message.json, now_s)
        self._waiting.append(_Waiting(message_id, message.topic, message.json, body))
        self._news.set()

    async def _send(self, message: _Waiting) -> str:
        """Send a message. Return why it was not accepted, or nothing if it was."""
        try:
            answer = await self._sender.send(message.id, message.body)
        except SinkError as error:
            return error.message
        if isinstance(answer, Answer):
            return "" if answer.accepted else f"it answers {answer.status}"
        return answer.problem

    def _sent(self, message: _Waiting, problem: str) -> None:
        if problem:
            # Only the first of a streak is news.
            level = logging.DEBUG if self._failing else logging.WARNING
            log.log(level, "%s: a message of %s is lost: %s", self._sender.where, message.topic, problem)
        else:
            self._accepted[message.topic] = message.json
        self._failing = bool(problem)
