"""Finds a destination that forgot texts which it had accepted, by the position that it keeps for the sink.

A broker that crashes is as it was when it last saved: it shows an older position, or none, and is sent all texts behind
that again. A destination that never shows a position must not be sent a day of texts at each connection. So before the
first text, and whenever it shows none, it is given one and asked for it: only one that showed it then can forget it.
"""

import enum
import logging

from flowpi.core.faults import SINK_FAMILY
from flowpi.publish.cursor import Cursor
from flowpi.publish.sinks import RewindableSink

log = logging.getLogger(__name__)

MOST_BREAKS = 3
"""How many connections in a row may break at the question. Some brokers hang up on whoever asks for what it may not
read: one that never showed a position is fed without the question then."""


class Answer(enum.Enum):
    """What the destination shows, on the newest connection on which that became known."""

    POSITION = "position"
    """Its position. So it is taken for as long as nothing else is known."""
    NOTHING = "nothing"
    NOT_ASKED = "not asked"
    """The connections before broke at the question."""


class Rewind:
    """Brings the position of one sink back to that of its destination."""

    def __init__(self, name: str, cursor: Cursor) -> None:
        """`name`: of the sink."""
        self._code = SINK_FAMILY + name
        self._cursor = cursor
        self._answer = Answer.POSITION
        self._breaks = 0
        """How many connections in a row broke at the question."""

    async def open(self, sink: RewindableSink) -> None:
        """Compare the positions, and go back if the destination did, after the sink was opened and before it is fed.

        Raises:
            SinkError: the connection is lost, or the position cannot be read or written.
        """
        was_shown = await self._cursor.trace()
        if not was_shown and self._breaks >= MOST_BREAKS:
            self._breaks = 0  # the next connection is asked again
            self._note_answer(Answer.NOT_ASKED)
            return
        self._breaks += 1
        there = await sink.position_there()
        may_have_forgotten = there != self._cursor.position and (there is not None or was_shown)
        if may_have_forgotten and await self._cursor.go_back(there):
            log.warning("%s: the destination has forgotten texts, and is sent them again", self._code)
        if there != self._cursor.position:
            sink.note_position(self._cursor.position)
        shown = there is not None or await sink.position_there() is not None
        if shown != was_shown:
            await self._cursor.note_shown(shown)
        self._breaks = 0
        self._note_answer(Answer.POSITION if shown else Answer.NOTHING)

    def note(self, sink: RewindableSink) -> None:
        """Have the destination keep the position that the sink has now."""
        if self._answer is not Answer.NOT_ASKED:
            sink.note_position(self._cursor.position)

    def _note_answer(self, answer: Answer) -> None:
        """Note what the destination shows. That it shows no position any more is logged."""
        if self._answer is Answer.POSITION and answer is not Answer.POSITION:
            log.warning(
                "%s: the destination does not show the position of the texts: should it forget texts, nobody notices",
                self._code,
            )
        self._answer = answer
