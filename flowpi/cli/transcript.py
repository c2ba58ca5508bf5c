"""The text of one recording, as `transcribe` writes it to stdout or to a file while it is heard."""

import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from flowpi.audio.cutting import Part
from flowpi.audio.sound import STDIN
from flowpi.cli import output
from flowpi.core.captions import Format, Segment, Summary
from flowpi.core.errors import CannotCreateError, NoInputError, UsageError
from flowpi.core.text import one_line
from flowpi.dsp.format import BYTES_PER_S
from flowpi.dsp.pauses import spoken
from flowpi.wire.roles import FinalText

UNFINISHED = ".part"
"""What is added to the name of a file that is not complete."""


class Transcript:
    """The text of one recording. Call `add` for each part, and `finish` at the end, also if that came too early.

    Nothing is written before there is something to write: a recording that cannot be used leaves no trace.

    Attributes:
        until_s: where the last part that was added ends, in seconds from the beginning of the recording.
        has_text: whether anything was said in it.
    """

    def __init__(self, form: Format, head: str, place: Path | None, before_output: Callable[[], None]) -> None:
        """
        Args:
            head: what stands before the first segment.
            place: the file; None is stdout.
            before_output: called before something is printed.
        """
        self._form = form
        self._head = head
        self._place = place
        self._before_output = before_output
        self._file: TextIO | None = None
        self._segments = 0
        self._texts: list[str] = []
        self._language: str | None = None
        self.until_s = 0.0

    @property
    def has_text(self) -> bool:
        return bool(self._texts)

    def add(self, part: Part, text: FinalText) -> None:
        """Write what was said in the next part. Raises CannotCreateError, OutputError."""
        self.until_s = part.start_s + len(part.pcm) / BYTES_PER_S
        self._language = self._language or text.language
        line = one_line(text.text)
        if line:
            self._texts.append(line)
        elif self._form.timed:
            return
        self._segments += 1
        start_s, end_s = (round(part.start_s + at_s, 2) for at_s in spoken(part.pcm))
        self._write(self._form.segment(self._segments, Segment(start_s, end_s, line)))

    def finish(self, duration_s: float, warnings: Sequence[str], *, complete: bool) -> None:
        """Write what stands behind the last segment, and give the file its name if it is complete.

        Raises:
            CannotCreateError, OutputError: it cannot be written.
        """
        if complete or self._segments:
            text = " ".join(self._texts)
            self._write(self._form.tail(Summary(text, self._language, round(duration_s, 2), list(warnings), complete)))
        if self._file is not None:
            self._file.close()
        if self._place is not None and complete:
            _unfinished(self._place).rename(self._place)
            self._before_output()
            print(self._place)

    def _write(self, text: str) -> None:
        if self._place is None:
            self._before_output()
            sys.stdout.write(self._head + text)
            sys.stdout.flush()
        else:
            if self._file is None:
                self._file = output.create(_unfinished(self._place))
            self._file.write(self._head + text)
        self._head = ""


def places(files: Sequence[str], form: str, to: Path | None) -> Sequence[Path | None]:
    """Return where the text of each file goes; None is stdout.

    Raises:
        UsageError: it would not be known what belongs to which file.
        NoInputError: there is no directory `to`.
        CannotCreateError: a text is there already.
    """
    if sum(file in STDIN for file in files) > 1:
        raise UsageError("the standard input can be read only once", "name it once")
    if to is None:
        if form in ("srt", "vtt") and len(files) > 1:
            raise UsageError(f"{len(files)} files make as many of {form}", "name a directory for them: --to DIR")
        return [None] * len(files)
    if not to.is_dir():
        raise NoInputError(f"{str(to)!r} is no directory", f"make it: mkdir -p {shlex.quote(str(to))}")
    found = [to / f"{'stdin' if file in STDIN else Path(file).stem}.{form}" for file in files]
    for path in found:
        if found.count(path) > 1:
            raise UsageError(f"{str(path)!r} would be the text of several files", "transcribe them one by one")
        if path.exists():  # and perhaps corrected by hand
            raise CannotCreateError(f"{str(path)!r} is there already", "delete it, or choose another --to")
    return found


def _unfinished(place: Path) -> Path:
    return place.with_name(place.name + UNFINISHED)
