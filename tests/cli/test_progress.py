"""The line of progress, on a terminal of 30 columns."""

import io

import pytest

from flowpi.cli.progress import CLEAR, Progress, clock


class Terminal(io.StringIO):
    def __init__(self, tty: bool = True) -> None:
        super().__init__()
        self.isatty = lambda: tty  # type: ignore[method-assign]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "30")
    return Terminal()


@pytest.mark.parametrize(
    ("where", "heard", "line"),
    [
        ("a.wav  0:07", "", "a.wav  0:07"),
        ("a.wav  0:07", "few words", "a.wav  0:07  few words"),
        ("a.wav  0:07", "it was the best of times", "a.wav  0:07  best of times"),
        ("a.wav  0:07", "\x1b]0;x\x07 in red \u202e", "a.wav  0:07  ]0;x  in red"),
        ("a.wav  0:07", "我们走 我们走 我们走", "a.wav  0:07  我们走 我们走"),
        ("a.wav  0:07", "Donaudampfschifffahrtsgesellschaft", "a.wav  0:07"),
        ("a long name of a sound file.wav  0:07", "words", "a long name of a sound file.w"),
        ("a name of a sound file  0:07", "words", "a name of a sound file  0:07"),
    ],
)
def test_what_fits(terminal: Terminal, where: str, heard: str, line: str) -> None:
    Progress(terminal).show(where, heard.encode().decode("unicode_escape") if "\\\\" in heard else heard)
    assert terminal.getvalue() == CLEAR + line


def test_the_line_is_removed_once(terminal: Terminal) -> None:
    progress = Progress(terminal)
    progress.clear()
    assert terminal.getvalue() == ""
    progress.show("here")
    progress.clear()
    progress.clear()
    assert terminal.getvalue() == CLEAR + "here" + CLEAR


@pytest.mark.parametrize(("tty", "term"), [(False, "xterm"), (True, "dumb"), (True, "")])
def test_nothing_where_it_cannot_be_removed(monkeypatch: pytest.MonkeyPatch, tty: bool, term: str) -> None:
    monkeypatch.setenv("TERM", term)
    other = Terminal(tty)
    progress = Progress(other)
    progress.show("here", "words")
    progress.clear()
    assert other.getvalue() == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.9, "0:59"), (754, "12:34"), (3600, "1:00:00"), (36_061, "10:01:01")]
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text
