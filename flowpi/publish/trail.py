"""Where the position of a sink was during the last day: how far it may go back if the destination forgot texts.

The trail is a file beside the position. A step is in that file before the position moves on: a crash between the two
leaves a step to the place where the position still is. The day ends with the newest step, and not now, because a power
cut that made a broker forget may have lasted a weekend.
"""

import logging
import time
from collections.abc import Callable, Collection
from pathlib import Path

import msgspec

from flowpi.core.retention import DAY_S
from flowpi.host.durable_file import DurableFile
from flowpi.publish.files import Transcripts
from flowpi.publish.lines import final_in
from flowpi.publish.log_reader import LogReader
from flowpi.publish.messages import TextId

log = logging.getLogger(__name__)

STEP_S = 3600.0
"""How far apart two steps of a file are at least: an SD card is not written twice for each text."""

MOST_RETURNS = 50
"""How often a sink goes back before a new text has followed: a broker may crash again while it is sent the old ones,
and a hostile one must not get them for ever."""


Marks = dict[str, TextId | None]
"""A position: the text of each file behind which it is; None for the beginning."""


class Step(msgspec.Struct, frozen=True):
    """Behind which text of a file the position was, when it moved on at `unix_s`; None: at the beginning."""

    unix_s: float
    name: str
    before: TextId | None


class _Content(msgspec.Struct, frozen=True):
    steps: tuple[Step, ...] = ()
    shown: bool = False


class Trail:
    """The trail of one sink. All methods run on the thread of the transcripts."""

    def __init__(self, path: Path, unix_time: Callable[[], float] = time.time) -> None:
        """`unix_time`: returns the wall clock, in seconds."""
        self._file = DurableFile(path, _Content, "the sink cannot go back to texts of before now")
        self._unix_time = unix_time
        self._content: _Content | None = None
        """None: no trail is kept, because this destination cannot show what it forgot."""
        self._returns = 0
        """How often the position went back since a new text followed."""
        self._tired = False
        """Whether it is in the log that this was too often."""
        self._furthest: dict[str, TextId | None] = {}
        """Where the position was in each file before it went back, and is not again."""

    @property
    def shown(self) -> bool:
        """Whether the destination showed the position when it was last asked for it."""
        return self._content is not None and self._content.shown

    def read(self) -> None:
        """Read the file, if there is one. Raises OSError."""
        self._content = self._file.read()

    def begin(self) -> None:
        """Keep a trail from now on. Raises OSError."""
        if self._content is None:
            self._write(_Content())

    def note_shown(self, shown: bool) -> None:
        """Note, durably, whether the destination shows the position. Raises OSError."""
        content = self._content or _Content()
        if content.shown != shown:
            self._write(msgspec.structs.replace(content, shown=shown))

    def leave(self, name: str, before: TextId | None) -> None:
        """Note, durably, from where in a file the position is about to move on. Raises OSError."""
        if self._content is None:
            return
        now_s = self._unix_time()
        # A step of a time to come was noted before the clock was set back.
        steps = [msgspec.structs.replace(step, unix_s=min(step.unix_s, now_s)) for step in self._content.steps]
        steps = [step for step in steps if now_s - step.unix_s < DAY_S]
        # A step that ends is written, too. Otherwise it would be back after a restart: a file that the destination no
        # longer names, so that the whole day would be repeated.
        ended = len(steps) < len(self._content.steps)
        if all(now_s - step.unix_s >= STEP_S for step in steps if step.name == name):
            steps, ended = [*steps, Step(now_s, name, before)], True
        content = msgspec.structs.replace(self._content, steps=tuple(steps))
        if ended:
            self._write(content)
        else:
            self._content = content

    def arrived(self, name: str, text: TextId) -> None:
        """Note that the position is behind a text now."""
        if name not in self._furthest:
            self._returns = 0
            self._tired = False
        elif self._furthest[name] == text:
            del self._furthest[name]

    def start(self) -> Marks:
        """Return how far the position may go back, in each file in which it moved."""
        start: Marks = {}
        for step in self._content.steps if self._content is not None else ():
            start.setdefault(step.name, step.before)
        return start

    def may_return(self) -> bool:
        """Return whether the position may go back once more; if not, say so in the log, once."""
        if self._returns < MOST_RETURNS:
            return True
        if not self._tired:
            self._tired = True
            log.warning(
                "%s: the destination has forgotten the same texts %d times, and is not sent them again",
                self._file.path.stem,
                MOST_RETURNS,
            )
        return False

    def shorten(self, names: Collection[str]) -> None:
        """Forget, durably, the later steps in these files: the position is about to go back before them.

        Raises:
            OSError: it must not.
        """
        assert self._content is not None
        seen: set[str] = set()
        steps = []
        for step in self._content.steps:
            if step.name not in names or step.name not in seen:
                steps.append(step)
            seen.add(step.name)
        self._write(msgspec.structs.replace(self._content, steps=tuple(steps)))

    def returned(self, names: Collection[str], position: Marks) -> None:
        """Note that the position went back in these files from `position`."""
        self._returns += 1
        for name in names:
            self._furthest.setdefault(name, position.get(name))

    def _write(self, content: _Content) -> None:
        self._file.write(content)
        self._content = content


def marks_in(position: bytes | None) -> Marks | None:
    """Return the position that a destination shows, or None if it shows none that can be read."""
    try:
        return None if position is None else _marks.decode(position)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def earlier(
    transcripts: Transcripts, name: str, start: TextId | None, ours: TextId | None, theirs: TextId | None
) -> TextId | None:
    """Return where in a file the position goes, which is behind `ours`, if the destination shows `theirs`.

    It never goes on, and never back beyond `start`. It goes to `start` if `theirs` is not behind that: then nobody
    knows how much the destination has.

    Raises:
        OSError: the file cannot be read.
    """
    with LogReader(transcripts, {name: start}).file(name) as (lines, _):
        finals = [final for line in lines if (final := final_in(line)) is not None]
    places = {TextId(final.id, final.part): place for place, final in enumerate(finals)}
    if ours is None or ours not in places:  # nothing proves that `start` is before it
        return ours
    if theirs is None or theirs not in places:
        return start
    return ours if places[theirs] > places[ours] else theirs


_marks = msgspec.json.Decoder(Marks)
