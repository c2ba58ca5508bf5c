"""`flowpi transcribe`: what is sent, what is printed, and what is told on stderr."""

import audioop
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowpi.audio.utterance import Utterance
from flowpi.cli import transcribe as command
from flowpi.cli.main import main
from flowpi.dsp.format import BYTES_PER_S
from flowpi.wire.roles import FinalText
from tests.audio.variants import VARIANTS, reference, wav
from tests.speech import two_cities


class Ears:
    """Backends that hear everything, and answer with `text` and the number of the part."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.parts: list[bytes] = []
        self.utterances: list[Utterance] = []

    async def text_of(self, utterance: Utterance, on_partial: Callable[..., None]) -> tuple[FinalText, str, None]:
        assert all(not utterance.length for utterance in self.utterances)  # the parts before are out of memory
        self.utterances.append(utterance)
        self.parts.append(bytes(utterance.read(0, utterance.length)))
        return FinalText(self.text and f"{self.text} {utterance.about.part}", None), "ears", None

    async def close(self) -> None:
        pass


@pytest.fixture
def ears(monkeypatch: pytest.MonkeyPatch) -> Ears:
    backends = Ears("heard")
    monkeypatch.setattr(command, "make_backends", lambda config: backends)
    monkeypatch.setenv("FLOWPI_CONFIG", "/dev/null")
    return backends


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*arguments: object) -> tuple[int, str, str]:
        code = main(["transcribe", *map(str, arguments)])
        return code, *capfd.readouterr()

    return run


Run = Callable[..., tuple[int, str, str]]


def written(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "speech"
    path.write_bytes(data)
    return path


def test_a_file_is_printed_and_nothing_is_said_besides(ears: Ears, run: Run, tmp_path: Path) -> None:
    assert run(written(tmp_path, wav())) == (0, "heard 1\n", "")
    assert ears.parts == [reference()]


def test_a_long_file_is_cut_in_pauses_into_lines(ears: Ears, run: Run, tmp_path: Path) -> None:
    pcm = two_cities().pcm
    code, out, err = run("-o", "dictation.max_utterance_s=10", written(tmp_path, wav(pcm)))
    assert (code, err) == (0, "")
    assert out.splitlines() == [f"heard {number}" for number in range(1, len(ears.parts) + 1)]
    assert b"".join(ears.parts) == pcm
    assert len(ears.parts) >= 5
    assert all(len(part) <= 10 * BYTES_PER_S for part in ears.parts)


def test_what_a_file_lacks_is_told_beside_its_text(ears: Ears, run: Run, tmp_path: Path) -> None:
    (cut,) = (variant for variant in VARIANTS if variant.name == "04b_cut_in_half")
    path = written(tmp_path, cut.data)
    warning = f"flowpi: warning: '{path}' has 1.0 of the 2.0 s that it announces: the rest is cut off or damaged\n"
    assert run(path) == (0, "heard 1\n", warning)


def test_that_nobody_speaks_is_told(ears: Ears, run: Run, tmp_path: Path) -> None:
    ears.text = ""
    assert run(written(tmp_path, wav(bytes(64_000)))) == (0, "\n", "flowpi: no speech was found\n")


def test_speech_that_is_too_quiet_is_told(ears: Ears, run: Run, tmp_path: Path) -> None:
    path = written(tmp_path, wav(audioop.mul(reference(), 2, 0.01)))
    warning = f"flowpi: warning: '{path}' is so quiet (-59 dBFS) that words are lost: make it louder first\n"
    assert run(path) == (0, "heard 1\n", warning)


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (b"", 65, "is empty"),
        (b"not sound, but words", 65, "looks like text"),
        (b"\0\0\0\x20ftypM4A " + bytes(99), 65, "convert it: ffmpeg -i "),
        (wav(b""), 65, "has no audio in it"),
    ],
)
def test_what_cannot_be_used(ears: Ears, run: Run, tmp_path: Path, data: bytes, code: int, words: str) -> None:
    ended, out, err = run(written(tmp_path, data))
    assert (ended, out) == (code, "")
    assert words in err
    assert len(err.splitlines()) == 1
    assert ears.parts == []


def test_a_file_of_somebody_else_ends_with_77(
    ears: Ears, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, wav())
    opened = open

    def refuse(name: Any, *arguments: Any, **more: Any) -> Any:  # root may read everything
        if name == str(path):
            raise PermissionError(13, "Permission denied")
        return opened(name, *arguments, **more)

    monkeypatch.setattr("builtins.open", refuse)
    code, _, err = run(path)
    assert code == 77
    assert f"chmod a+r {path}" in err
