"""Both models in the whole path: files by `flowpi transcribe`, through `flowpi serve`."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from flowpi.core.errors import EngineUnavailable
from flowpi.server.model_files import CONVERTED, CONVERTED_DECODER, CONVERTED_ENCODER
from flowpi.server.moonshine import BEGIN, Model
from tests.bench.words import MODELS
from tests.models import BASE
from tests.prompts import sample
from tests.rig.transcribing import transcribed
from tests.speech import WORD_ERRORS_MAX, human, total, two_cities

MEMORY_MAX_MB = {"tiny": 290, "base": 340}
"""The resident set after all recordings. A busy machine decodes on more threads at once; a row of the bench has what
each model needs on one that is quiet."""

CPU_RATIO_MAX = 2.5
"""Half more would be a fault. The goal, which a row of the bench has, is for a machine that is quiet."""


def test_no_product_saturates() -> None:
    """Of signed weights onnxruntime adds two products in 16 bits where the processor has no better instruction: an
    x86-64 without VNNI. The model then writes three times as many errors, and no other machine shows it."""
    for network in (CONVERTED_ENCODER, CONVERTED_DECODER):
        graph = onnx.load(BASE / network).graph
        kinds = {tensor.data_type for tensor in graph.initializer if len(tensor.dims) == 2}
        assert onnx.TensorProto.UINT8 in kinds
        assert onnx.TensorProto.INT8 not in kinds


def test_tokens_in_one_run_or_in_many() -> None:
    """None may see those after it, and all see those of the runs before. What differs is the last bits of sums, which
    the quantisation of all tokens of a run together makes larger."""
    samples = np.frombuffer(two_cities().part(0.7, 4.8), np.int16).astype(np.float32)[None] / 32768
    decoding, tokens = Model(BASE)._decoding(samples, None), list[int]()
    one_by_one = list[float]()
    while len(tokens) < 12:
        logits = decoding.step([tokens[-1] if tokens else BEGIN], [0])[0]
        weights = np.exp(logits - logits.max())
        tokens.append(int(logits.argmax()))
        one_by_one.append(float(weights.max() / weights.sum()))
    assert decoding.probabilities(tokens) == pytest.approx(one_by_one, abs=0.15)
    assert min(one_by_one) > 0.5


def test_a_decoder_of_the_same_name_that_another_program_exports(tmp_path: Path) -> None:
    """It takes the whole text at each step, and would write nonsense of the last token alone."""
    for name in CONVERTED:
        (tmp_path / name).symlink_to(BASE / name)
    whole_text = onnx.load(BASE / CONVERTED_DECODER)
    inputs = whole_text.graph.input
    del whole_text.graph.node[:], whole_text.graph.initializer[:], whole_text.graph.output[:], inputs[1:]
    whole_text.graph.node.append(onnx.helper.make_node("Identity", [inputs[0].name], ["logits"]))
    whole_text.graph.output.append(onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.INT64, None))
    (tmp_path / CONVERTED_DECODER).unlink()
    onnx.save(whole_text, tmp_path / CONVERTED_DECODER)
    with pytest.raises(EngineUnavailable, match="its decoder takes no past_key_values"):
        Model(tmp_path)


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
