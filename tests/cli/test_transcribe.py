"""`flowpi transcribe`: what is sent, what is printed, and what is told on stderr."""

import audioop
import io
import json
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowpi.audio.utterance import Utterance
from flowpi.cli import output
from flowpi.cli import transcribe as command
from flowpi.cli.main import main
from flowpi.core.errors import LinkLost
from flowpi.dsp.format import BYTES_PER_S
from flowpi.wire.roles import FinalText, PartialText
from tests.audio.variants import VARIANTS, reference, wav
from tests.speech import two_cities


class Ears:
    """Backends that hear everything, and answer with `text` and the number of the part.

    `deaf_from`: the first part for which they fail.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.deaf_from = 1000
        self.failing: Callable[[], object] = lambda: None
        self.parts: list[bytes] = []
        self.utterances: list[Utterance] = []

    async def text_of(self, utterance: Utterance, on_partial: Callable[..., None]) -> tuple[FinalText, str, None]:
        assert all(not utterance.length for utterance in self.utterances)  # the parts before are out of memory
        if utterance.about.part >= self.deaf_from:
            on_partial(PartialText("heard in part", None), "ears")
            self.failing()
            raise LinkLost("the link is gone")
        self.utterances.append(utterance)
        self.parts.append(bytes(utterance.read(0, utterance.length)))
        return FinalText(self.text and f"{self.text} {utterance.about.part}", "en"), "ears", None

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
    path = written(tmp_path, wav(bytes(64_000)))
    told = f"flowpi: no speech was found in '{path}'\n"
    assert run(path) == (0, "\n", told)
    assert run("-f", "srt", path) == (0, "", told)
    assert run("-f", "vtt", path) == (0, "WEBVTT\n", told)


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


class TestFormats:
    def test_phrases_with_their_times(self, ears: Ears, run: Run, tmp_path: Path) -> None:
        code, out, err = run("--format", "json", path := written(tmp_path, wav(two_cities().pcm)))
        assert (code, err) == (0, "")
        found = json.loads(out)
        assert found["file"] == str(path)
        assert (found["language"], found["complete"], found["warnings"]) == ("en", True, [])
        assert found["duration_s"] == round(len(two_cities().pcm) / BYTES_PER_S, 2)
        assert [one["text"] for one in found["segments"]] == [f"heard {n}" for n in range(1, len(ears.parts) + 1)]
        assert found["text"] == " ".join(one["text"] for one in found["segments"])
        assert b"".join(ears.parts) == two_cities().pcm

    def test_what_the_backend_sends_stays_one_cue(self, ears: Ears, run: Run, tmp_path: Path) -> None:
        ears.text = " one\n\n2\r\n00:00:00,000 --> 00:00:01,000\nfake\x1b[31m \u202ereversed a\u200cb "
        code, out, err = run("-f", "srt", written(tmp_path, wav()))
        cue = "one 2 00:00:00,000 --> 00:00:01,000 fake [31m reversed a\u200cb 1"
        assert (code, out.splitlines()[2:], err) == (0, [cue, ""], "")

    def test_the_json_of_a_damaged_file_says_so(self, ears: Ears, run: Run, tmp_path: Path) -> None:
        (cut,) = (variant for variant in VARIANTS if variant.name == "04b_cut_in_half")
        _, out, err = run("-f", "json", written(tmp_path, cut.data))
        (warning,) = json.loads(out)["warnings"]
        assert err == f"flowpi: warning: {warning}\n"

    @pytest.mark.parametrize(
        ("form", "text"),
        [("txt", "heard 1\nheard in part\n"), ("srt", "1\n00:00:00,540 --> 00:00:04,540\nheard 1\n\n")],
    )
    def test_what_was_heard_before_a_failure_is_printed(
        self, ears: Ears, run: Run, tmp_path: Path, form: str, text: str
    ) -> None:
        ears.deaf_from = 2
        path = written(tmp_path, wav(two_cities().pcm))
        code, out, err = run("-f", form, "-o", "dictation.max_utterance_s=10", path)
        assert (code, out) == (69, text)
        assert err.startswith(f"flowpi: the text of '{path}' ends after 0:0")
        assert "(the link is gone)" in err.splitlines()[1]

    def test_incomplete_json_is_still_json(self, ears: Ears, run: Run, tmp_path: Path) -> None:
        ears.deaf_from = 3
        code, out, _ = run("-f", "json", written(tmp_path, wav(two_cities().pcm)))
        found = json.loads(out)
        assert (code, found["complete"], found["text"]) == (69, False, "heard 1 heard 2")


class TestSeveral:
    def test_texts_are_under_the_names_of_their_files(self, ears: Ears, run: Run, tmp_path: Path) -> None:
        names = "one.wav", "two\x1b[31m.wav"
        for name in names:
            (tmp_path / name).write_bytes(wav())
        one, two = (str(tmp_path / name) for name in names)
        assert run(one, two) == (0, f"==> {one} <==\nheard 1\n==> {two.replace(chr(27), ' ')} <==\nheard 1\n", "")
        assert len(ears.parts) == 2

    def test_one_that_cannot_be_used_does_not_stop_the_others(self, ears: Ears, run: Run, tmp_path: Path) -> None:
        (tmp_path / "bad.wav").write_bytes(b"words")
        (tmp_path / "good.wav").write_bytes(wav())
        bad, gone, good = (tmp_path / name for name in ("bad.wav", "gone.wav", "good.wav"))
        code, out, err = run("-f", "json", bad, gone, good)
        assert (code, [json.loads(line)["file"] for line in out.splitlines()]) == (65, [str(good)])
        assert [line.split(":")[1].partition("(")[0] for line in err.splitlines()] == [
            f" '{bad}' is no sound file",
            f" cannot read '{gone}' ",
        ]

    def test_each_gets_a_file(self, ears: Ears, run: Run, tmp_path: Path) -> None:
        for name in ("one.wav", "two.flac.wav"):
            (tmp_path / name).write_bytes(wav())
        to = tmp_path / "texts"
        to.mkdir()
        code, out, err = run("-f", "vtt", "--to", to, tmp_path / "one.wav", tmp_path / "two.flac.wav")
        assert (code, out.splitlines(), err) == (0, [f"{to}/one.vtt", f"{to}/two.flac.vtt"], "")
        assert sorted(path.name for path in to.iterdir()) == ["one.vtt", "two.flac.vtt"]
        assert (to / "one.vtt").read_text().startswith("WEBVTT\n\n00:00:0")

    def test_what_is_not_complete_has_another_name(self, ears: Ears, run: Run, tmp_path: Path) -> None:
        ears.deaf_from = 2
        path = written(tmp_path, wav(two_cities().pcm))
        assert run("-f", "srt", "--to", tmp_path, path)[:2] == (69, "")
        assert not (tmp_path / "speech.srt").exists()
        heard = (tmp_path / "speech.srt.part").read_text()
        assert heard.endswith("heard 1\n\n")
        ears.deaf_from = 1  # what was kept survives another failure, and is not taken for that of a second command
        code, _, err = run("-f", "srt", "--to", tmp_path, path)
        assert (code, (tmp_path / "speech.srt.part").read_text()) == (73, heard)
        assert "speech.srt.part' is there already: another command writes it, or did not get to its end" in err
        (tmp_path / "speech.srt.part").unlink()
        ears.deaf_from = 1000
        assert run("-f", "srt", "--to", tmp_path, path)[0] == 0
        assert sorted(path.name for path in tmp_path.iterdir()) == ["speech", "speech.srt"]

    def test_a_file_that_comes_meanwhile_is_not_replaced(self, ears: Ears, run: Run, tmp_path: Path) -> None:
        path = written(tmp_path, wav())
        heard = ears.text_of

        async def correct(*arguments: Any) -> Any:
            (tmp_path / "speech.txt").write_text("corrected by hand")
            return await heard(*arguments)

        ears.text_of = correct  # type: ignore[assignment, method-assign]
        code, _, err = run("--to", tmp_path, path)
        assert (code, (tmp_path / "speech.txt").read_text()) == (73, "corrected by hand")
        assert err.endswith(f"speech.txt' cannot be made (File exists): the text is in '{tmp_path}/speech.txt.part'\n")
        assert (tmp_path / "speech.txt.part").read_text() == "heard 1\n"

    def test_nothing_planted_is_written_to(self, ears: Ears, run: Run, tmp_path: Path) -> None:
        path, other = written(tmp_path, wav()), tmp_path / "other"
        other.write_text("of somebody else")
        (tmp_path / "speech.txt.part").symlink_to(other)
        os.mkfifo(tmp_path / "speech.srt.part")
        assert run("--to", tmp_path, path)[0] == 73
        assert run("-f", "srt", "--to", tmp_path, path)[0] == 73
        assert other.read_text() == "of somebody else"

    def test_a_batch_says_where_it_ended_and_goes_on_there(self, ears: Ears, run: Run, tmp_path: Path) -> None:
        for name in "abc":
            (tmp_path / name).write_bytes(wav())
        files = [tmp_path / name for name in "abc"]
        ears.failing = lambda: setattr(ears, "deaf_from", 1000)
        (tmp_path / "a.txt").write_text("done before")
        ears.deaf_from = 1
        code, out, err = run("--to", tmp_path, *files)
        assert (code, out) == (69, "")
        assert f"flowpi: not transcribed: '{tmp_path}/c'\n" in err
        assert (tmp_path / "b.txt.part").read_text() == "heard in part\n"
        (tmp_path / "b.txt.part").unlink()
        code, out, err = run("--to", tmp_path, *files)
        assert (code, out.splitlines()) == (73, [f"{tmp_path}/b.txt", f"{tmp_path}/c.txt"])
        assert err == f"flowpi: '{tmp_path}/a.txt' is there already: delete it, or choose another --to\n"

    def test_no_trace_is_left_where_nothing_was_heard(self, ears: Ears, run: Run, tmp_path: Path) -> None:
        ears.deaf_from = 1
        path = written(tmp_path, wav())
        assert run("-f", "json", "--to", tmp_path, path)[:2] == (69, "")
        assert run("-f", "json", path)[:2] == (69, "")
        path.write_bytes(wav(b""))
        assert run("-f", "json", "--to", tmp_path, path)[:2] == (65, "")
        assert [path.name for path in tmp_path.iterdir()] == ["speech"]

    @pytest.mark.parametrize(
        ("arguments", "code", "words"),
        [
            ("-f srt a.wav b.wav", 64, "2 files make as many of srt: name a directory for them: --to DIR"),
            ("-f vtx a.wav", 64, "there is no format 'vtx': did you mean vtt?"),
            ("- /dev/stdin", 64, "the standard input can be read only once: name it once"),
            ("--to . a.wav x/a.flac", 64, "'a.txt' would be the text of several files: transcribe them one by one"),
            ("--to nowhere a.wav", 66, "--to 'nowhere' is no directory: make it: mkdir -p nowhere"),
            ("--to there.txt a.wav", 66, "--to 'there.txt' is no directory: name one"),
        ],
    )
    def test_texts_that_have_no_place(
        self,
        ears: Ears,
        run: Run,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        arguments: str,
        code: int,
        words: str,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "there.txt").write_text("corrected by hand")
        assert run(*arguments.split()) == (code, "", f"flowpi: {words}\n")
        assert ears.parts == []

    @pytest.mark.parametrize("deaf_from", [1, 1000])
    def test_a_full_disk(
        self, ears: Ears, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deaf_from: int
    ) -> None:
        ears.deaf_from = deaf_from
        create = output.create

        def full(path: Path) -> Any:
            create(path).close()
            path.unlink()
            path.symlink_to("/dev/full")
            return io.TextIOWrapper(io.BufferedWriter(output._Output(path, "wb")), write_through=True)

        monkeypatch.setattr(output, "create", full)
        code, out, err = run("--to", tmp_path, written(tmp_path, wav()))
        assert (code, out) == (74, "")
        assert err.endswith("flowpi: the output cannot be written (No space left on device)\n")
        assert os.listdir(tmp_path) == ["speech"]

    def test_a_disk_that_fills_up_keeps_what_was_heard(self, ears: Ears, run: Run, tmp_path: Path) -> None:
        ears.text = 6000 * "a"
        path = written(tmp_path, wav(two_cities().pcm))
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
        try:
            code, out, err = run("-o", "dictation.max_utterance_s=10", "--to", tmp_path, path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert (code, out) == (74, "")
        assert err == "flowpi: the output cannot be written (File too large)\n"
        assert len(ears.parts) == 2
        assert (tmp_path / "speech.txt.part").read_text().startswith(f"{ears.text} 1\n")


EDITED = ("-o", "text.commands=true", "-o", "text.replacements={Her: [heard]}")


def test_the_rules_for_texts_apply_and_commanded_lines_stay(ears: Ears, run: Run, tmp_path: Path) -> None:
    ears.text = "heard. New line. Part"
    code, out, _ = run(written(tmp_path, wav()), *EDITED)
    assert (code, out) == (0, "Her.\nPart 1\n")
    code, out, _ = run(written(tmp_path, wav()), *EDITED, "-f", "srt")
    assert out.endswith("\nHer. Part 1\n\n")


def test_a_language_model_is_not_asked(ears: Ears, run: Run, tmp_path: Path) -> None:
    model = "text.rewrite={url: 'http://127.0.0.1:1/v1', model: tiny}"
    assert run(written(tmp_path, wav()), "-o", model) == (0, "heard 1\n", "")
