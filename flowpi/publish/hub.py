"""The hub: a message is published under a topic, and every subscriber of that topic receives it.

A subscriber receives messages by a plain call that must not wait. One with a slow destination keeps a bounded queue of
its own, and defines what happens when it is full. A message is encoded once, however many receive it.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any

import msgspec

from flowpi.core.safe_text import escaped
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
    """The handle of one subscriber, returned by `Hub.subscribe`.

    Attributes:
        filters: what it is subscribed to.
    """

    def __init__(self, hub: "Hub", receive: Callable[[Message, bool], None]) -> None:
        self.filters: tuple[str, ...] = ()
        self.receive = receive
        self._hub = hub

    def add(self, filters: Sequence[str]) -> None:
        """Subscribe to more. Retained messages that match are delivered before this returns. Filters must be valid."""
        self.filters = tuple(dict.fromkeys([*self.filters, *filters]))
        self._hub.add(self, filters)

    def wants(self, topic: str) -> bool:
        """Return whether a filter matches a topic."""
        return any(matches(one, topic) for one in self.filters)

    def close(self) -> None:
        """End the subscription. Harmless if it has ended."""
        self._hub.unsubscribe(self)


class _Topic:
    """What the hub knows of a topic. Subscriptions are in the order in which they came."""

    def __init__(self, subscriptions: Iterable[Subscription]) -> None:
        self.subscriptions = dict.fromkeys(subscriptions)
        self.retained: Message | None = None
        self.watchers: list[Callable[[bool], None]] = []


class Hub:
    """The distributor of all messages. It keeps the latest retained ones for later subscribers.

    Each topic has its subscribers at hand, so neither a message nor a new subscription costs more because there are
    many others. Topics are known from their first use; the program has a dozen.
    """

    def __init__(self) -> None:
        self._subscriptions: dict[Subscription, None] = {}
        self._topics: dict[str, _Topic] = {}

    def subscribe(self, filters: Sequence[str], receive: Callable[[Message, bool], None]) -> Subscription:
        """Call `receive(message, retained)` for each message from now on.

        Retained messages are delivered before this returns, with `retained` true. The filters must be valid.
        """
        subscription = Subscription(self, receive)
        self._subscriptions[subscription] = None
        subscription.add(filters)
        return subscription

    def add(self, subscription: Subscription, filters: Sequence[str]) -> None:
        """Do the work of `Subscription.add`."""
        matching = {name for name in self._topics if any(matches(one, name) for one in filters)}
        for name in sorted(matching):
            topic = self._topics[name]
            first = not topic.subscriptions
            topic.subscriptions[subscription] = None
            if first:
                _tell(topic, True)
        for name in sorted(matching):
            if (message := self._topics[name].retained) is not None and subscription in self._subscriptions:
                subscription.receive(message, True)

    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription. Harmless if it has ended."""
        if subscription not in self._subscriptions:
            return
        del self._subscriptions[subscription]
        for topic in self._topics.values():
            if subscription in topic.subscriptions:
                del topic.subscriptions[subscription]
                if not topic.subscriptions:
                    _tell(topic, False)

    def wants(self, topic: str) -> bool:
        """Return whether anybody is subscribed to a topic."""
        return bool(self._topic(topic).subscriptions)

    def watch(self, topic: str, on_change: Callable[[bool], None]) -> None:
        """Call `on_change` when the first subscriber of a topic comes or the last one leaves, so that what is costly to
        make is made only for somebody. Called at once if there is one already."""
        watched = self._topic(topic)
        watched.watchers.append(on_change)
        if watched.subscriptions:
            on_change(True)

    def publish(self, topic: str, payload: Any) -> None:
        """Deliver a message to all subscribers of its topic before this returns. A subscriber that fails is removed."""
        message = Message(topic, payload)
        published = self._topic(topic)
        if topic in RETAINED:
            published.retained = message
        for subscription in list(published.subscriptions):
            try:
                subscription.receive(message, False)
            except Exception:  # a bug in one sink must not stop the others, nor the publisher
                log.exception("a subscriber of %s failed, and gets no more", topic)
                subscription.close()

    def _topic(self, name: str) -> _Topic:
        if name not in self._topics:
            self._topics[name] = _Topic(one for one in self._subscriptions if one.wants(name))
        return self._topics[name]


def _tell(topic: _Topic, wanted: bool) -> None:
    for on_change in topic.watchers:
        on_change(wanted)
