"""The configured backends, and one round over them: each in turn, until one gives a text."""

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import assert_never

from flowpi.config import Config, FlowBackend, SukiBackend
from flowpi.core.errors import BackendError, CredentialError, NotReached
from flowpi.core.failover import Verdict, rest_s, verdict
from flowpi.dictation.link import Attempt, FlowLink
from flowpi.dictation.session import Timings
from flowpi.dictation.transport import Patience
from flowpi.dictation.utterance import Utterance
from flowpi.wire.roles import FinalText, PartialText

log = logging.getLogger(__name__)

Heard = Callable[[PartialText, str], None]
"""Is told interim texts, with the name of the backend."""

RETRY_NOW_EVERY_S = 60.0
MAX_FAILURES = 10
PER_S = 60.0
"""A backend that always fails must not be hammered, however many dictations wait: it is asked again at once no more
often than the first of these says, with another key once in an attempt, and after so many failures in a row within a
minute it has a rest."""


class _Health:
    """What is known of one backend."""

    def __init__(self, max_failures: int) -> None:
        self.rests_until = 0.0
        self.error: BackendError | None = None
        """Of the last attempt; None if that worked."""
        self.retried_at = float("-inf")
        self.failed_at: deque[float] = deque(maxlen=max_failures)
        """Since it worked."""

    def may_retry(self, now: float) -> bool:
        """Whether it may be asked again at once. If so, it is taken for done."""
        if now - self.retried_at < RETRY_NOW_EVERY_S:
            return False
        self.retried_at = now
        return True


class Backends:
    """Best first. Never empty.

    Attributes:
        links: one a backend, best first.
    """

    def __init__(self, links: Sequence[Attempt], *, max_failures: int = MAX_FAILURES) -> None:
        """`max_failures`: of one backend in a row within a minute; then it has a rest."""
        self.links = links
        self._health = {link.name: _Health(max_failures) for link in links}
        self._rounds = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def refusals(self) -> list[str]:
        """Why backends do not work until their owner does something; empty if there is none of these."""
        errors = [health.error for health in self._health.values()]
        return [str(error) for error in errors if error is not None and verdict(error) is Verdict.STOP_AND_TELL]

    def start(self) -> None:
        """Get keys and sessions before the first press; in the background."""
        for link in self.links:
            link.start()

    async def text_of(self, utterance: Utterance, on_partial: Heard) -> tuple[FinalText, str, Timings]:
        """The text, the name of the backend that gave it, and when things happened.

        An utterance with no audio in it has no text, and no backend is asked.

        Raises:
            BackendError: no backend gave a text; the reason of the last one.
        """
        if utterance.complete and not utterance.length:
            return FinalText("", None), self.links[0].name, Timings()
        self._rounds += 1
        self._idle.clear()
        try:
            return await self._round(utterance, on_partial)
        finally:
            self._rounds -= 1
            if not self._rounds:
                self._idle.set()

    async def retire(self) -> None:
        """Close, once the rounds that have begun are over. No new one may begin."""
        await self._idle.wait()
        await self.close()

    async def close(self) -> None:
        """End what `start` began, and wait for connections that are still being closed."""
        for link in self.links:
            await link.close()

    async def _round(self, utterance: Utterance, on_partial: Heard) -> tuple[FinalText, str, Timings]:
        last: BackendError | None = None
        for link in self.links:
            try:
                return await self._attempt(link, utterance, on_partial)
            except BackendError as error:
                last = error
        assert last is not None
        raise last

    async def _attempt(self, link: Attempt, utterance: Utterance, on_partial: Heard) -> tuple[FinalText, str, Timings]:
        health, loop = self._health[link.name], asyncio.get_running_loop()
        if health.error is not None and loop.time() < health.rests_until:
            raise health.error.with_traceback(None)
        healed = False
        while True:
            timings = Timings()
            try:
                text = await link.deliver(utterance, lambda partial: on_partial(partial, link.name), timings)
            except BackendError as error:
                again = verdict(error) is Verdict.RETRY_NOW
                if error.healed:
                    again, healed = not healed, True
                elif again:
                    again = health.may_retry(loop.time())
                if not again:
                    error.healed = False  # another key did not help
                self._failed(link, utterance, error)
                if not again:
                    raise
            except Exception as error:  # a bug here must not end the service of all that was said
                log.exception("%s: the attempt on backend %r failed", utterance.id, link.name)
                raise BackendError(f"the attempt on backend {link.name!r} failed ({type(error).__name__})") from error
            else:
                health.error = None
                health.failed_at.clear()
                return text, link.name, timings

    def _failed(self, link: Attempt, utterance: Utterance, error: BackendError) -> None:
        health = self._health[link.name]
        # The first failure of a streak is news, and the last backend's is the caller's to tell.
        told = health.error is not None or link is self.links[-1]
        log.log(logging.DEBUG if told else logging.WARNING, "%s: %s", utterance.id, error)
        health.error = error
        now = asyncio.get_running_loop().time()
        if not isinstance(error, (CredentialError, NotReached)):  # nobody was asked
            health.failed_at.append(now)
        health.rests_until = now + rest_s(error)
        if len(health.failed_at) == health.failed_at.maxlen:
            health.rests_until = max(health.rests_until, health.failed_at[0] + PER_S)


def make_backends(config: Config) -> Backends:
    patience = Patience(final_s=config.dictation.first_result_timeout_s)
    device_id = config.device_id or socket.gethostname()
    links: list[Attempt] = []
    for name in config.dictation.backends:
        match config.backends[name]:
            case FlowBackend() as flow:
                links.append(FlowLink(name, flow, config.context, patience, device_id))
            case SukiBackend() as suki:
                from flowpi.dictation.suki import SukiLink  # only who uses it pays for it

                links.append(SukiLink(name, suki, patience))
            case other:
                assert_never(other)
    return Backends(links)
