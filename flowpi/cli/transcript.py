"""The text of one recording, as `transcribe` writes it to stdout or to a file while it is heard."""

import contextlib
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from flowpi.audio.cutting import Part
from flowpi.audio.sound import STDIN
from flowpi.cli import output
from flowpi.cli.terminal import print_path
from flowpi.core.captions import Format, Segment, Summary
from flowpi.core.errors import CannotCreateError, NoInputError, UsageError
from flowpi.core.text import one_line
from flowpi.dsp.format import BYTES_PER_S
from flowpi.dsp.pauses import spoken
from flowpi.wire.roles import FinalText, PartialText

UNFINISHED = ".part"
"""What is added to the name of a file that is not complete."""

SHORTEST_S = 0.01
"""Players pass over a subtitle that lasts no time."""


class Transcript:
    """The text of one recording. Call `open`, `add` for each part, and `finish`, also if the end came too early.

    Nothing is left where nothing was heard, and no file is replaced.

    Attributes:
        until_s: where the last part that was added ends, in seconds from the beginning of the recording.
        last: what was heard last.
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
    def last(self) -> str:
        return self._texts[-1] if self._texts else ""

    def open(self) -> None:
        """Make the file, before time is spent on its text.

        Raises:
            CannotCreateError: it cannot be made, or there is a file of that name, or one that was not completed.
        """
        if self._place is not None:
            if os.path.lexists(self._place):  # and perhaps corrected by hand
                raise CannotCreateError(f"{str(self._place)!r} is there already", "delete it, or choose another --to")
            self._file = output.create(_unfinished(self._place))

    def add(self, part: Part, text: FinalText) -> None:
        """Write what was said in the next part. Raises OutputError."""
        self._language = self._language or text.language
        if (line := one_line(text.text)) or not self._form.timed:
            self._write_segment(part, line)
        self.until_s = part.start_s + len(part.pcm) / BYTES_PER_S

    def add_unfinished(self, part: Part, text: PartialText | None) -> bool:
        """Write what was heard of a part whose text did not come, if it is long. Returns whether there was any."""
        line = one_line(text.text) if text else ""
        if not line or self._form.timed:
            return False
        self._write_segment(part, line)
        return True

    def finish(self, duration_s: float, warnings: Sequence[str], *, complete: bool) -> Path | None:
        """Write what stands behind the last segment, and give the file its name if it is complete.

        Returns:
            Where the text is if it is not stdout: for one that is not complete, the file with another name.

        Raises:
            CannotCreateError, OutputError: it cannot be written.
        """
        if complete or self._segments:
            duration_s = round(duration_s if complete else self.until_s, 2)
            text = " ".join(self._texts)
            self._write(self._form.tail(Summary(text, self._language, duration_s, list(warnings), complete)))
        if self._file is None or self._place is None:
            return None
        self._file.close()
        unfinished = _unfinished(self._place)
        if not complete:
            if not self._segments:
                unfinished.unlink()
            return unfinished if self._segments else None
        _rename(unfinished, self._place)
        self._before_output()
        print_path(self._place)
        return self._place

    def _write_segment(self, part: Part, line: str) -> None:
        if line:
            self._texts.append(line)
        start_s, end_s = (part.start_s + at_s for at_s in spoken(part.pcm))
        segment = Segment(round(start_s, 2), round(max(end_s, start_s + SHORTEST_S), 2), line)
        self._write(self._form.segment(self._segments + 1, segment))
        self._segments += 1

    def _write(self, text: str) -> None:
        if self._file is not None:
            self._file.write(self._head + text)
        else:
            self._before_output()
            sys.stdout.write(self._head + text)
            sys.stdout.flush()
        self._head = ""


def places(files: Sequence[str], form: str, to: str | None) -> Sequence[Path | None]:
    """Return where the text of each file goes; None is stdout.

    Raises:
        UsageError: it would not be known what belongs to which file.
        NoInputError: there is no directory `to`.
    """
    if sum(file in STDIN for file in files) > 1:
        raise UsageError("the standard input can be read only once", "name it once")
    if to is None:
        if form in ("srt", "vtt") and len(files) > 1:
            raise UsageError(f"{len(files)} files make as many of {form}", "name a directory for them: --to DIR")
        return [None] * len(files)
    if not os.path.isdir(to):
        make = f"make it: mkdir -p {shlex.quote(to)}" if to and not os.path.lexists(to) else "name one"
        raise NoInputError(f"--to {to!r} is no directory", make)
    found = [Path(to, f"{'stdin' if file in STDIN else Path(file).stem}.{form}") for file in files]
    for path in found:
        if found.count(path) > 1:
            raise UsageError(f"{str(path)!r} would be the text of several files", "transcribe them one by one")
    return found


def _unfinished(place: Path) -> Path:
    return place.with_name(place.name + UNFINISHED)


def _rename(old: Path, new: Path) -> None:
    """Give a file its name, unless another has it by now. Raises CannotCreateError."""
    try:
        try:
            os.link(old, new)
        except PermissionError:  # such as FAT, which has no links
            if os.path.lexists(new):
                raise FileExistsError(17, "File exists") from None
            old.rename(new)
        else:
            with contextlib.suppress(FileNotFoundError):
                old.unlink()
    except OSError as error:
        hint = f"the text is in {str(old)!r}"
        raise CannotCreateError(f"{str(new)!r} cannot be made ({error.strerror})", hint) from None
