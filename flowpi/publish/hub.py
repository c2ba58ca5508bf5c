"""The hub: a message is published under a topic, and every subscriber of that topic receives it.

A subscriber receives messages by a plain call that must not wait. One with a slow destination keeps a bounded queue of
its own, and defines what happens when it is full. A message is encoded once, however many receive it.
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
    """A message, encoded when it is first needed. `payload`: anything that msgspec can encode as JSON."""

    def __init__(self, topic: str, payload: Any) -> None:
        self.topic = topic
        self.payload = payload

    @cached_property
    def json(self) -> bytes:
        """The payload as JSON."""
        return escaped(msgspec.json.encode(self.payload))

    @cached_property
    def line(self) -> bytes:
        """The message as a line of the local socket, with its newline."""
        return b'{"topic":%b,"payload":%b}\n' % (msgspec.json.encode(self.topic), self.json)

    @cached_property
    def retained_line(self) -> bytes:
        """The same line for a client that subscribed after it was published."""
        return b'%b,"retained":true}\n' % self.line[:-2]


class Subscription:
    """The handle of one subscriber, returned by `Hub.subscribe`; `close` ends the subscription."""

    def __init__(self, hub: "Hub", filters: Sequence[str], receive: Callable[[Message, bool], None]) -> None:
        self.filters = tuple(filters)
        self.receive = receive
        self._hub = hub

    def wants(self, topic: str) -> bool:
        """Whether a filter matches a topic."""
        return any(matches(one, topic) for one in self.filters)

    def close(self) -> None:
        """End the subscription. Harmless if it has ended."""
        self._hub.unsubscribe(self)


class Hub:
    """The distributor of all messages. It keeps the latest retained ones for later subscribers."""

    def __init__(self) -> None:
        self._subscriptions: list[Subscription] = []
        self._retained: dict[str, Message] = {}
        self._receivers: dict[str, list[Subscription]] = {}
        """The subscriptions that match a topic, found at its first message after a change of the subscriptions."""
        self._watches: list[tuple[str, Callable[[bool], None]]] = []
        self._wanted: set[str] = set()
        """The watched topics that had a subscriber at the last change."""

    def subscribe(self, filters: Sequence[str], receive: Callable[[Message, bool], None]) -> Subscription:
        """Call `receive(message, retained)` for each message from now on.

        Retained messages are delivered before this returns, with `retained` true. The filters must be valid.
        """
        subscription = Subscription(self, filters, receive)
        self._subscriptions.append(subscription)
        self._receivers.clear()
        for topic in sorted(self._retained):
            if subscription.wants(topic):
                receive(self._retained[topic], True)
        self._look_who_listens()
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription. Harmless if it has ended."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)
            self._receivers.clear()
            self._look_who_listens()

    def wants(self, topic: str) -> bool:
        """Whether anybody is subscribed to a topic."""
        return bool(self._receiving(topic))

    def watch(self, topic: str, on_change: Callable[[bool], None]) -> None:
        """Call `on_change` when the first subscriber of a topic comes or the last one leaves, so that what is costly to
        make is made only for somebody. Called at once if there is one already."""
        self._watches.append((topic, on_change))
        if self.wants(topic):
            self._wanted.add(topic)
            on_change(True)

    def publish(self, topic: str, payload: Any) -> None:
        """Deliver a message to all subscribers of its topic before this returns. A subscriber that fails is removed."""
        message = Message(topic, payload)
        if topic in RETAINED:
            self._retained[topic] = message
        for subscription in list(self._receiving(topic)):
            try:
                subscription.receive(message, False)
            except Exception:  # a bug in one subscriber must harm neither the others nor the publisher
                log.exception("a subscriber of %s failed, and gets no more", topic)
                subscription.close()

    def _look_who_listens(self) -> None:
        wanted = {topic for topic, _ in self._watches if self.wants(topic)}
        changed, self._wanted = wanted ^ self._wanted, wanted
        for topic, on_change in self._watches:
            if topic in changed:
                on_change(topic in wanted)

    def _receiving(self, topic: str) -> list[Subscription]:
        """Return the subscriptions that match a topic."""
        if topic not in self._receivers:
            self._receivers[topic] = [one for one in self._subscriptions if one.wants(topic)]
        return self._receivers[topic]
