"""The sink of one webhook: sends each final text as a POST, one after the other, and counts the tries of the first.

How often a text was tried is known in memory only. After a restart of the daemon it has all its tries again, and the
first is at once; a receiver that was gone for good is asked once more. What was parked stays parked.

Messages of other topics are sent beside the texts, see `live.py`.
"""

import asyncio
import random
import time
from collections.abc import Callable

from flowpi.config.webhooks import WebhookSettings
from flowpi.core import topics
from flowpi.core.errors import SinkError, SinkRefusedError
from flowpi.host.clock import is_synchronised
from flowpi.publish.hub import Message
from flowpi.publish.messages import Final, TextId
from flowpi.publish.webhook.live import Live
from flowpi.publish.webhook.request import body_of, id_of
from flowpi.publish.webhook.sender import Sender
from flowpi.publish.webhook.verdict import Accepted, Answer, Later, NotReached, Refused, Verdict, judge

JITTER = 0.2
"""The waits differ by so much, so that many appliances do not come back to a receiver at the same moment."""


class WebhookSink:
    """The sink of one webhook."""

    def __init__(
        self,
        settings: WebhookSettings,
        *,
        unix_time: Callable[[], float] = time.time,
        synchronised: Callable[[], bool | None] = is_synchronised,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """
        Args:
            unix_time: returns the time of this machine.
            synchronised: returns whether that is right; None if it cannot be found out.
            chance: returns a random number from 0 to 1, which spreads the waits.
        """
        self.filters = [topic for topic in topics.matched(settings.filters) if topic != topics.FINAL]
        self._unix_time = unix_time
        self._synchronised = synchronised
        self._chance = chance
        self._sender = Sender(settings, unix_time)
        self._live = Live(self._sender, unix_time)
        self._text: TextId | None = None
        """The text that was tried last, to which the next two belong."""
        self._failures = 0
        self._due_s = 0.0
        """The time of the loop before which a try is an extra one, asked for by an operator."""
        self._refused: set[TextId] = set()
        """The texts that were refused for good: one more try is enough if they are sent again."""

    async def open(self) -> None:
        await self._sender.open()

    def receive(self, message: Message, retained: bool) -> None:
        self._live.receive(message, retained)

    async def write(self, final: Final) -> None:
        text = TextId(final.id, final.part)
        if text != self._text:
            self._text, self._failures, self._due_s = text, 0, 0.0
        now_s = asyncio.get_running_loop().time()
        verdict = await self._send(final)
        early_s = self._due_s - now_s
        if isinstance(verdict, NotReached):
            raise SinkError(self._said(verdict.problem), verdict.hint)
        if isinstance(verdict, Later) and not verdict.counts:
            raise SinkError(self._said(verdict.problem), verdict.hint, retry_after_s=verdict.wait_s)
        if isinstance(verdict, Accepted):
            self._refused.discard(text)
        elif (isinstance(verdict, Refused) and early_s <= 0) or text in self._refused:
            self._refused.add(text)
            raise SinkRefusedError(self._said(verdict.problem), verdict.hint)
        elif isinstance(verdict, Later) and early_s <= 0:
            self._failures += 1
            self._due_s = asyncio.get_running_loop().time() + verdict.wait_s
            raise SinkError(self._said(verdict.problem), verdict.hint, retry_after_s=verdict.wait_s)
        else:
            raise SinkError(self._said(verdict.problem), verdict.hint, retry_after_s=early_s)

    async def wait_lost(self) -> None:
        # There is no connection between two requests that could be lost. This lasts as long as the sink is open, and
        # that is how long messages are sent live.
        await self._live.run()

    async def close(self) -> None:
        self._live.drop()
        await self._sender.close()

    async def _send(self, final: Final) -> Verdict:
        """Send a text once. Raises SinkError if that cannot be tried."""
        answer = await self._sender.send(id_of(final), body_of(final))
        asked = isinstance(answer, Answer) and answer.status in (400, 401)
        return judge(
            answer,
            self._failures,
            self._unix_time(),
            1 + JITTER * (2 * self._chance() - 1),
            synchronised=self._synchronised() if asked else None,
            signed=self._sender.signs,
        )

    def _said(self, problem: str) -> str:
        return f"{self._sender.where}: {problem}"
