"""A publisher with one receiver of webhooks, and a clock that is set forward."""

import time
from pathlib import Path

from flowpi.config.secret import Secret
from flowpi.config.webhooks import WebhookSettings
from flowpi.core import topics
from flowpi.publish import webhook
from flowpi.publish.webhook.sink import WebhookSink
from tests.clock import SkippingLoop
from tests.publish.harness import Harness
from tests.publish.webhook.receiver import SECRET, Receiver
from tests.waiting import ticks


class Faults(dict[str, str]):
    """The faults that stand. `raised`: how often one was raised."""

    raised = 0

    def __setitem__(self, code: str, message: str) -> None:
        super().__setitem__(code, message)
        self.raised += 1


class Hook(WebhookSink):
    """The sink of the receiver. `durable`: whether it follows texts."""

    durable = True


class Station(Harness):
    """A publisher with the clock and one receiver, which has the secret of the hook `desk`."""

    faults: Faults

    def __init__(self, directory: Path, clock: SkippingLoop, receiver: Receiver) -> None:
        super().__init__(directory)
        self.faults = Faults()
        self.clock = clock
        self.receiver = receiver
        self.offset_s = 0.0
        self.synchronised: bool | None = True
        self.chance = lambda: 1.0

    def sink(
        self, secret: str | None = SECRET, old: str | None = None, *, filters: tuple[str, ...] = (topics.FINAL,)
    ) -> Hook:
        chosen = settings(self.receiver, secret, old, filters)
        hook = Hook(
            chosen,
            unix_time=lambda: time.time() + self.offset_s,
            synchronised=lambda: self.synchronised,
            chance=lambda: 0.5,
        )
        hook.durable = webhook.follows_texts(chosen)
        return hook

    async def until_failed(self, times: int) -> None:
        """Wait until the sink has failed so often and waits for its next try."""
        await self.clock.until(lambda: self.faults.raised >= times)
        assert self.faults.raised == times

    async def until_sent(self, *numbers: int) -> None:
        await self.clock.until(lambda: self.receiver.texts == list(numbers))

    async def assert_waits(self, wait_s: float) -> None:
        """Let the wait pass, and assert that no try comes in its first half: a busy machine may spend the other."""
        tried = len(self.receiver.requests), self.faults.raised
        self.clock.skip(wait_s / 2)
        await ticks(50)
        assert (len(self.receiver.requests), self.faults.raised) == tried
        self.clock.skip(wait_s / 2)


def settings(
    receiver: Receiver,
    secret: str | None = SECRET,
    old: str | None = None,
    filters: tuple[str, ...] = (topics.FINAL,),
) -> WebhookSettings:
    return WebhookSettings(
        receiver.url,
        Secret("literal", secret) if secret else None,
        Secret("literal", old) if old else None,
        filters=filters,
    )
