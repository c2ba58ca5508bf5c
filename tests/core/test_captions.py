"""Each format of a transcript, read by parsers that others wrote."""

import html
import io
import json

import srt
import webvtt
from hypothesis import given
from hypothesis import strategies as st

from flowpi.core.captions import FORMATS, Segment, Summary
from flowpi.core.safe_text import printable

HARD = [
    "a < b && c > d",
    "1",
    "00:00:01,000 --> 00:00:02,000",
    "NOTE it",
    "-->",
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    "👨\u200d👩\u200d👧",
    "co\u00adop",
    "{x}",
    "<i>",
]

texts = st.text(min_size=1, max_size=60).map(lambda text: printable(text, None).strip()).filter(bool) | st.sampled_from(
    HARD
)


@st.composite
def recordings(draw: st.DrawFn) -> list[Segment]:
    """Segments in order, with times in hundredths of a second, to beyond ten hours."""
    at, found = 0, []
    for text in draw(st.lists(texts, max_size=6)):
        start = at + draw(st.integers(0, 1_000_000))
        at = start + draw(st.integers(1, 1500))
        found.append(Segment(start / 100, at / 100, text))
    return found


def written(form: str, segments: list[Segment], *, complete: bool = True) -> str:
    kind = FORMATS[form]
    middle = "".join(kind.segment(number, segment) for number, segment in enumerate(segments, 1))
    summary = Summary(" ".join(segment.text for segment in segments), "en", 1.5, [], complete)
    return kind.head("talk.wav") + middle + kind.tail(summary)


def seconds(time: str) -> float:
    return float(srt.srt_timestamp_to_timedelta(time).total_seconds())


@given(recordings())
def test_srt_is_read_by_another_parser(segments: list[Segment]) -> None:
    found = list(srt.parse(written("srt", segments)))
    assert [cue.index for cue in found] == list(range(1, len(segments) + 1))
    assert [Segment(cue.start.total_seconds(), cue.end.total_seconds(), cue.content) for cue in found] == segments


@given(recordings())
def test_vtt_is_read_by_another_parser(segments: list[Segment]) -> None:
    found = webvtt.from_buffer(io.StringIO(written("vtt", segments))).captions
    assert [(seconds(cue.start), seconds(cue.end)) for cue in found] == [(one.start, one.end) for one in segments]
    texts = [html.unescape(cue.text) for cue in found]  # without the tags that a player would obey
    assert texts == [segment.text for segment in segments]


@given(recordings(), st.booleans())
def test_json_is_one_line_in_ascii(segments: list[Segment], complete: bool) -> None:
    text = written("json", segments, complete=complete)
    assert text.isascii()
    assert text.endswith("}\n")
    assert text.count("\n") == 1
    assert json.loads(text) == {
        "file": "talk.wav",
        "segments": [{"start": one.start, "end": one.end, "text": one.text} for one in segments],
        "text": " ".join(one.text for one in segments),
        "language": "en",
        "duration_s": 1.5,
        "warnings": [],
        "complete": complete,
    }


def test_times_of_subtitles() -> None:
    segments = [Segment(0.0, 0.54, "a"), Segment(3599.999, 36_000.0, "b")]
    assert written("srt", segments) == (
        "1\n00:00:00,000 --> 00:00:00,540\na\n\n2\n00:59:59,999 --> 10:00:00,000\nb\n\n"
    )
    assert written("vtt", segments[:1]) == "WEBVTT\n\n00:00:00.000 --> 00:00:00.540\na\n"


def test_a_player_takes_nothing_in_a_text_for_markup() -> None:
    (_, text) = written("vtt", [Segment(0.0, 1.0, "<i> & -->")]).rstrip().rsplit("\n", 1)
    assert text == "&lt;i&gt; &amp; --&gt;"
