"""What a sink is: a place where texts and messages go. One file a kind in this folder, one row in `SINKS`.

`publisher.py` opens, feeds and closes them. Two places are no rows of the table:

- The transcripts (`files.py`) are the log that durable sinks read: a text is safe when it stands there.
- The local socket (`socket.py`) carries commands too, is opened before the daemon is ready, and ends it if that fails.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from flowpi.config.schema import Config
from flowpi.publish.hub import Message
from flowpi.publish.messages import Final


class Sink(Protocol):
    """Called on the loop. A SinkError of any method but `close` leads to `close`, a wait, and `open` again.

    Attributes:
        filters: topics that it shows live while it is open; empty: none.
        durable: whether `write` gets each final text, from the sink's own position on, those from before a restart too.
    """

    @property
    def filters(self) -> Sequence[str]: ...

    @property
    def durable(self) -> bool: ...

    async def open(self) -> None:
        """Raises SinkError: not now. Cancelled if it takes longer than `publisher.PATIENCE_S`."""

    def receive(self, message: Message, retained: bool) -> None:
        """Show a message live. It must not wait. Raises SinkError if the connection is lost."""

    async def write(self, final: Final) -> None:
        """Return once the text is safe there. Raises SinkError; called again later with the same text.

        Cancelled if it takes longer than `publisher.PATIENCE_S`, and called again. A text whose write succeeded comes
        again only if the process is killed before the position is on the disk.
        """

    async def close(self) -> None:
        """Called after `open`, even if that failed. Cancelled if it takes longer than `publisher.CLOSE_S`."""


class Kind(NamedTuple):
    """A row of the table.

    Attributes:
        settings: returns what the configuration says about this sink; None: it is not configured. A reload makes the
            sink anew when this has changed.
        make: returns the sink for such settings. Called on a thread; imports its library only here.
    """

    settings: Callable[[Config], Any]
    make: Callable[[Any], Sink]


SINKS: Mapping[str, Kind] = {}
"""By name, which is also that of the fault (`sink.NAME`) and of the position file (`sinks/NAME.position`)."""
