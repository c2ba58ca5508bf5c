"""The contract of a sink, a destination of texts and messages. Each kind is one file here and one row in `SINKS`.

`feeder.py` opens, feeds and closes each sink. Two destinations are no rows of the table:

- The transcripts (`files.py`) are the log that durable sinks read: a text is safe once it is there.
- The local socket (`socket.py`) also carries commands, and the daemon does not start without it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from flowpi.config.schema import Config
from flowpi.publish import mqtt, webhook
from flowpi.publish.hub import Message
from flowpi.publish.messages import Final
from flowpi.publish.socket_client import Command


class Sink(Protocol):
    """A destination. All methods are called on the loop.

    A SinkError of any method but `close` leads to `close`, a wait, and `open` again.

    Attributes:
        filters: the topics that it shows live while it is open; empty for none.
    """

    @property
    def filters(self) -> Sequence[str]: ...

    async def open(self) -> None:
        """Connect. Raises SinkError if that is not possible now. Cancelled after `feeder.PATIENCE_S`."""

    def receive(self, message: Message, retained: bool) -> None:
        """Show a message live. It must not wait. Raises SinkError if the connection is lost."""

    async def write(self, final: Final) -> None:
        """Return once the text is safe at the destination. Called only if its kind says that it follows texts.

        Cancelled after `feeder.PATIENCE_S`. After that or a SinkError it is called again later with the same text; a
        SinkError may say how much later.
        Raises SinkRefusedError if this text will never be accepted and others may be: it is parked, the sink stays
        open, and the next text follows. The message of an error is logged and shown: it must not contain the text.

        A text whose write succeeded is repeated only if the process is killed before the position is on the disk.
        """

    async def close(self) -> None:
        """Disconnect. Called after `open`, even if that failed. Cancelled after `feeder.CLOSE_S`."""


@runtime_checkable
class WatchedSink(Sink, Protocol):
    """A sink that notices by itself when its connection is lost, also while there is nothing to send."""

    async def wait_lost(self) -> None:
        """Wait until the connection is lost, and raise a SinkError then. Called after `open`."""


@runtime_checkable
class RewindableSink(Sink, Protocol):
    """A sink whose destination also keeps the position of the texts: one that forgot texts forgot their position too.

    The position is opaque, has no word of text, and is a few hundred bytes long.
    """

    async def position_there(self) -> bytes | None:
        """Return the position that the destination keeps, or None if it shows none.

        Called after `open`. What was noted before is there now, unless the destination does not accept it. Raises
        SinkError if the connection is lost.
        """

    def note_position(self, position: bytes) -> None:
        """Have the destination keep a position instead of the last one. It must not wait."""


class SinkKind(NamedTuple):
    """A row of the table.

    Attributes:
        settings: returns what the configuration says about each sink of this kind, by the name of the sink; empty: none
            is configured. A reload makes a sink anew when its settings have changed.
        make: returns the sink for such settings, and for what carries out the commands that come from its peers; None:
            nothing does. Called on a thread, and again later if it raises; imports its library only here.
        follows_texts: returns whether such a sink is durable: `write` is called with each final text from the sink's
            own position on, also those from before a restart. Known before it is made, so that none is passed over.
    """

    settings: Callable[[Config], Mapping[str, Any]]
    make: Callable[[Any, Command | None], Sink]
    follows_texts: Callable[[Any], bool]


SINKS: Mapping[str, SinkKind] = {
    "mqtt": SinkKind(mqtt.settings, mqtt.make, mqtt.follows_texts),
    "webhook": SinkKind(webhook.settings, webhook.make, webhook.follows_texts),
}
"""The table of kinds. Each is the first level of the names of its sinks, and a name is also that of the fault
(`sink.NAME`) and position file (`sinks/NAME.position`)."""
