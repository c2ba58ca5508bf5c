"""Both models in the whole path: files by `flowpi transcribe`, through `flowpi serve`."""

from pathlib import Path

import pytest

from flowpi.server.model_files import DECODER, ENCODER
from tests.bench.words import MODELS
from tests.models import BASE
from tests.prompts import sample
from tests.rig.transcribing import transcribed
from tests.speech import WORD_ERRORS_MAX, human, total

MEMORY_MAX_MB = {"tiny": 290, "base": 340}
"""The resident set after all recordings. A busy machine decodes on more threads at once; a row of the bench has what
each model needs on one that is quiet."""

CPU_RATIO_MAX = 3
"""Double would be a fault. The goal, which a row of the bench has, is for a machine that is quiet."""


def test_no_product_saturates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of signed weights onnxruntime adds two products in 16 bits where the processor has no better instruction: an
    x86-64 without VNNI. The model then writes three times as many errors, and no other machine shows it."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "model")
    from onnx import TensorProto
    from ort_format import read_graph

    for network in (ENCODER, DECODER):
        kinds = {tensor.data_type for tensor in read_graph(BASE / network).initializer if len(tensor.dims) == 2}
        assert TensorProto.UINT8 in kinds
        assert TensorProto.INT8 not in kinds


@pytest.mark.lengthy
def test_words_time_and_memory(tmp_path: Path) -> None:
    """One test: all of it is about one run, which each worker that had a part of it would do again. `make bench` does
    the same with all prompts."""
    recordings = [*human(), *sample()]
    heard = {}
    for name, model in MODELS.items():
        (tmp_path / name).mkdir()
        heard[name] = transcribed(tmp_path / name, model(), recordings)
        assert heard[name].chosen.startswith(f"moonshine {name}-en")
        assert total(heard[name].errors).rate <= WORD_ERRORS_MAX[name]
        assert heard[name].memory_mb <= MEMORY_MAX_MB[name]
    assert heard["base"].cpu_s <= CPU_RATIO_MAX * heard["tiny"].cpu_s
