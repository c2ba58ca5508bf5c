"""What was said in a recording, in the formats of programs and of subtitles. Pure.

SRT has no standard: this is what SubRip wrote, and every player reads. VTT is W3C's WebVTT.
"""

import json
from collections.abc import Callable, Mapping
from typing import NamedTuple


class Segment(NamedTuple):
    """A piece of a recording and what was said in it: one line of text.

    `start`, `end`: seconds from the beginning of the recording; where speech begins and ends.
    """

    start: float
    end: float
    text: str


class Summary(NamedTuple):
    """What is known of a recording at its end.

    `text`: of all segments. `duration_s`: how much sound was read. `warnings`: what is missing or damaged.
    `complete`: false if no backend gave the rest of the text.
    """

    text: str
    language: str | None
    duration_s: float
    warnings: list[str]
    complete: bool


class Format(NamedTuple):
    """A row of the table.

    Attributes:
        timed: whether it has times: then a segment is a phrase, and a segment without text is left out.
        head: returns what stands before the first segment of a file.
        segment: returns a segment; the number counts from 1.
        tail: returns what stands behind the last one.
    """

    timed: bool
    head: Callable[[str], str]
    segment: Callable[[int, Segment], str]
    tail: Callable[[Summary], str]


def _srt(number: int, segment: Segment) -> str:
    start, end = (_clock(seconds).replace(".", ",") for seconds in (segment.start, segment.end))
    return f"{number}\n{start} --> {end}\n{segment.text}\n\n"


def _vtt(number: int, segment: Segment) -> str:
    text = segment.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f"\n{_clock(segment.start)} --> {_clock(segment.end)}\n{text}\n"


def _clock(seconds: float) -> str:
    """Return a time as HH:MM:SS.mmm."""
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}.{ms % 1000:03}"


# JSON in ASCII, which every terminal and locale can show: one line for each file, written piece by piece, so that what
# was heard is not lost if the rest fails.


def _json_head(file: str) -> str:
    return f'{{"file": {json.dumps(file)}, "segments": ['


def _json_segment(number: int, segment: Segment) -> str:
    return (", " if number > 1 else "") + json.dumps(segment._asdict())


def _json_tail(summary: Summary) -> str:
    return f"], {json.dumps(summary._asdict())[1:]}\n"


FORMATS: Mapping[str, Format] = {
    "txt": Format(False, lambda file: "", lambda number, segment: segment.text + "\n", lambda summary: ""),
    "json": Format(True, _json_head, _json_segment, _json_tail),
    "srt": Format(True, lambda file: "", _srt, lambda summary: ""),
    "vtt": Format(True, lambda file: "WEBVTT\n", _vtt, lambda summary: ""),
}
"""The table of formats, by the name that is also the extension of the file."""
