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
from flowpi.cli.progress import clock
from flowpi.cli.terminal import print_path
from flowpi.core.captions import Format, Segment, Summary
from flowpi.core.errors import CannotCreateError, NoInputError, UsageError
from flowpi.core.safe_text import one_line
from flowpi.dsp.format import BYTES_PER_S
from flowpi.dsp.pauses import spoken
from flowpi.editing.editor import EditedText
from flowpi.wire.roles import FinalText

UNFINISHED = ".part"
"""What is added to the name of a file that is not complete."""

SHORTEST_S = 0.01
"""Players pass over a subtitle that lasts no time."""


class Transcript:
    """The text of one recording. In a `with`, call `begin`, `hear` and `add` for each part, then `finish`.

    If the end comes too early, call `break_off` instead. Nothing is left where nothing was heard, and no file is
    replaced.

    Attributes:
        until_s: where the last part that was added ends, in seconds from the beginning of the recording.
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
        self._part: Part | None = None
        self._heard = ""
        """The part whose text is awaited, and what was heard of it."""
        self._segments = 0
        self._texts: list[str] = []
        self._language: str | None = None
        self.until_s = 0.0

    def __enter__(self) -> None:
        """Make the file, before time is spent on its text.

        Raises:
            CannotCreateError: it cannot be made, or there is a file of that name, or one that was not completed.
        """
        if self._place is not None:
            if os.path.lexists(self._place):  # and perhaps corrected by hand
                raise CannotCreateError(f"{str(self._place)!r} is there already", "delete it, or choose another --to")
            self._file = output.create(_unfinished(self._place))

    def __exit__(self, *_: object) -> None:
        if self._file is None or self._place is None or self._file.closed:
            return
        if not self._segments:  # before it is closed, which a full disk makes an error
            _unfinished(self._place).unlink()
        self._file.close()

    @property
    def last(self) -> str:
        """What was heard last."""
        return self._heard or (self._texts[-1] if self._texts else "")

    def begin(self, part: Part) -> None:
        """Await the text of the next part."""
        self._part, self._heard = part, ""

    def hear(self, text: str) -> None:
        """Replace what was heard of this part so far."""
        self._heard = one_line(text)

    def add(self, text: FinalText) -> None:
        """Write what was said in this part. Raises OutputError."""
        assert self._part is not None
        # If it cannot be written, what was heard before it cannot be either.
        part, self._part, self._heard = self._part, None, ""
        self._language = self._language or text.language
        # A new line that was commanded stays, where times do not make a line of each phrase.
        lines = text.text.split("\n") if isinstance(text, EditedText) and not self._form.timed else [text.text]
        if (written := "\n".join(map(one_line, lines))) or not self._form.timed:
            self._write_segment(part, written)
        self.until_s = part.start_s + len(part.pcm) / BYTES_PER_S

    def finish(self, duration_s: float, warnings: Sequence[str]) -> None:
        """Write what stands behind the last segment, and give the file its name.

        Raises:
            CannotCreateError, OutputError: it cannot be written.
        """
        self._write_tail(duration_s, warnings, complete=True)
        if self._file is None or self._place is None:
            return
        self._file.close()
        _rename(_unfinished(self._place), self._place)
        self._before_output()
        print_path(self._place)

    def break_off(self, warnings: Sequence[str]) -> str:
        """Write what was heard of the part whose text did not come, if parts are long, and what stands behind it.

        Returns:
            Where the text ends, in words; "" if there is none.

        Raises:
            OutputError: it cannot be written.
        """
        after = ""
        if self._part and self._heard and not self._form.timed:
            self._write_segment(self._part, self._heard)
            after = "; the last line is what was heard of the part after that"
        if self._segments:
            self._write_tail(self.until_s, warnings, complete=False)
        where = f", in {str(_unfinished(self._place))!r}" if self._place and self._segments else ""
        return f"{clock(self.until_s)}{where}{after}" if self.until_s or after else ""

    def _write_tail(self, duration_s: float, warnings: Sequence[str], *, complete: bool) -> None:
        text = " ".join(self._texts)
        self._write(self._form.tail(Summary(text, self._language, round(duration_s, 2), list(warnings), complete)))

    def _write_segment(self, part: Part, line: str) -> None:
        if line:
            self._texts.append(line)
        start_s, end_s = (part.start_s + at_s for at_s in spoken(part.pcm))
        segment = Segment(round(start_s, 2), round(max(end_s, start_s + SHORTEST_S), 2), line)
        self._write(self._form.segment(self._segments + 1, segment))
        self._segments += 1

    def _write(self, text: str) -> None:
        if self._file is None:
            self._before_output()
        stream = self._file or sys.stdout
        stream.write(self._head + text)
        stream.flush()
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
