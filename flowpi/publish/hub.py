"""The hub: whoever has something to say publishes it, whoever wants to know subscribes.

A subscriber takes messages with a plain call that must not wait: one with a slow world behind it keeps a bounded
queue of its own, and says what happens when it is full. A message is put into JSON once, however many receive it.
"""

import logging
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import msgspec

from flowpi.core.text import escaped
from flowpi.core.topics import RETAINED, matches

log = logging.getLogger(__name__)


class Message:
    """`payload`: anything msgspec can put into JSON."""

    def __init__(self, topic: str, payload: Any) -> None:
        self.topic = topic
        self.payload = payload

    @cached_property
    def json(self) -> bytes:
        """The payload."""
        return escaped(msgspec.json.encode(self.payload))

    @cached_property
    def line(self) -> bytes:
        """The message as it stands on the local socket, with its newline."""
        return b'{"topic":%b,"payload":%b}\n' % (msgspec.json.encode(self.topic), self.json)

    @cached_property
    def retained_line(self) -> bytes:
        """The same, for one that came after it was published."""
        return b'%b,"retained":true}\n' % self.line[:-2]


class Subscription:
    """Returned by `Hub.subscribe`; `close` ends it."""

    def __init__(self, hub: "Hub", filters: Sequence[str], receive: Callable[[Message, bool], None]) -> None:
        self.filters = tuple(filters)
        self.receive = receive
        self._hub = hub

    def wants(self, topic: str) -> bool:
        return any(matches(one, topic) for one in self.filters)

    def close(self) -> None:
        self._hub.unsubscribe(self)


class Hub:
    """Passes each message to its subscribers, and the latest retained ones to those who come later."""

    def __init__(self) -> None:
        self._subscriptions: list[Subscription] = []
        self._retained: dict[str, Message] = {}
        self._receivers: dict[str, list[Subscription]] = {}
        """By topic, worked out at its first message after a change of subscriptions."""
        self._watches: list[tuple[str, Callable[[bool], None]]] = []
        self._wanted: set[str] = set()
        """The watched topics that had a subscriber at the last change."""

    def subscribe(self, filters: Sequence[str], receive: Callable[[Message, bool], None]) -> Subscription:
        """From now on; retained messages at once, with `receive(message, True)`. Filters must be valid."""
        subscription = Subscription(self, filters, receive)
        self._subscriptions.append(subscription)
        self._receivers.clear()
        for topic in sorted(self._retained):
            if subscription.wants(topic):
                receive(self._retained[topic], True)
        self._look_who_listens()
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Harmless if it has ended."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)
            self._receivers.clear()
            self._look_who_listens()

    def wants(self, topic: str) -> bool:
        """Whether anybody listens to a topic."""
        return bool(self._receiving(topic))

    def watch(self, topic: str, on_change: Callable[[bool], None]) -> None:
        """Call `on_change` when the first subscriber of a topic comes or the last one leaves, so that what is costly to
        make is made only for somebody. Called at once if there is one already."""
        self._watches.append((topic, on_change))
        if self.wants(topic):
            self._wanted.add(topic)
            on_change(True)

    def publish(self, topic: str, payload: Any) -> None:
        message = Message(topic, payload)
        if topic in RETAINED:
            self._retained[topic] = message
        for subscription in list(self._receiving(topic)):
            try:
                subscription.receive(message, False)
            except Exception:  # a mistake in one sink hurts no other, and not who publishes
                log.exception("a subscriber of %s failed, and gets no more", topic)
                subscription.close()

    def _look_who_listens(self) -> None:
        wanted = {topic for topic, _ in self._watches if self.wants(topic)}
        changed, self._wanted = wanted ^ self._wanted, wanted
        for topic, on_change in self._watches:
            if topic in changed:
                on_change(topic in wanted)

    def _receiving(self, topic: str) -> list[Subscription]:
        if topic not in self._receivers:
            self._receivers[topic] = [one for one in self._subscriptions if one.wants(topic)]
        return self._receivers[topic]
