"""The networks of Moonshine tiny as flowpi builds them, against those that are published."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from flowpi.server.model_files import DECODER, ENCODER, TOKENIZER, tiny
from flowpi.server.moonshine import BEGIN, Model
from flowpi.server.moonshine_networks import GRAPHS
from tests.server.runs import counted_runs
from tests.speech import two_cities

ROOT = Path(__file__).parents[2]

SENTENCE = 0.7, 4.8


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of the same model with another checksum, whose networks are opened as they are."""
    directory = tmp_path_factory.mktemp("published")
    for name in (ENCODER, TOKENIZER):  # no links: with them the weights would be refused, whatever their checksum
        (directory / name).write_bytes((tiny() / name).read_bytes())
    (directory / DECODER).write_bytes((tiny() / DECODER).read_bytes() + b"\0")
    return directory


def is_built(model: Model) -> bool:
    """Return whether the decoder is without a branch for the first step."""
    return "use_cache_branch" not in model._decoder_inputs


def test_which_models_are_built(published: Path) -> None:
    assert is_built(Model(tiny()))
    assert not is_built(Model(published))


def test_a_model_of_links_is_opened_as_it_is_published(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """onnxruntime reads no weights outside of the directory."""
    for name in (ENCODER, DECODER, TOKENIZER):
        (tmp_path / name).symlink_to(tiny() / name)
    assert not is_built(Model(tmp_path))
    assert "is opened as it is published, and slower" in caplog.text


def test_a_link_to_the_directory_of_a_model_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "model").symlink_to(tiny())
    assert is_built(Model(tmp_path / "model"))


def test_the_graphs_are_made_of_the_installed_model(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "model" / "tiny_graphs.py", tiny(), tmp_path], check=True)
    for graph in GRAPHS:
        assert (tmp_path / graph.name).read_bytes() == graph.read_bytes()


class TestTheSame:
    """What differs is the last bits of sums, which the quantisation between two multiplications makes larger: as much
    as when the published networks hear sound that is louder by three millionths."""

    @pytest.mark.parametrize("phrases", [(), ("Dickens",)])
    def test_text(self, published: Path, phrases: tuple[str, ...]) -> None:
        pcm = two_cities().part(*SENTENCE)
        texts = [Model(directory).transcribe(pcm, phrases=phrases) for directory in (tiny(), published)]
        assert texts[0]
        assert texts[0] == texts[1]

    def test_text_with_a_draft(self, published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """With several tokens at once behind others, the published decoder computes something else."""
        model, pcm = Model(published), two_cities().part(*SENTENCE)
        runs = counted_runs(monkeypatch)
        text = model.transcribe(pcm)
        assert text
        assert model.transcribe(pcm, draft=text) == text
        assert set(runs) == {1}

    def test_probabilities(self, published: Path) -> None:
        """All tokens in one run, where none may see those after it, with the cache or without."""
        samples = np.frombuffer(two_cities().part(*SENTENCE), np.int16).astype(np.float32)[None] / 32768
        found = []
        for directory in (tiny(), published):
            model = Model(directory)
            decoding, tokens = model._decoding(samples, None), list[int]()
            while len(tokens) < 12:
                tokens.append(int(decoding.step([tokens[-1] if tokens else BEGIN], [0])[0].argmax()))
            found.append((tokens, decoding.probabilities(tokens)))
        (tokens, ours), (others, theirs) = found
        assert tokens == others
        assert ours == pytest.approx(theirs, abs=0.15)
        assert min(ours) > 0.5
