"""Models of no use that sherpa-onnx runs like real ones: they hear how loud it is, and say "la" for it.

They have the inputs, outputs and metadata of what k2-fsa's export scripts write, and random weights would do no better:
what is real in a test with them is the reading of the files, the runtime, its threads and its memory.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LOUD = 14.0
"""The mean logarithm of the mel energies of int16 samples above which it is loud: speech is, a pause is not."""

LANGUAGES = ("en", "zh", "ja", "ko", "yue")
TOKENS = *(f"<|{language}|>" for language in LANGUAGES), "<|NEUTRAL|>", "<|Speech|>", "<|withitn|>", "<blk>", "▁la"
BLANK, LA = TOKENS.index("<blk>"), TOKENS.index("▁la")


def sense_voice(directory: Path, model_type: str = "sense_voice_ctc") -> Path:
    """Write a SenseVoice that says `la` for each loud stretch, in the language that it is asked for, or else English.

    It is shown as the first token, as by the real one: "auto" is English.
    """
    directory.mkdir(parents=True, exist_ok=True)
    one_of_two = np.zeros((2, len(TOKENS)), np.float32)
    one_of_two[0, BLANK] = one_of_two[1, LA] = 1
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["level"], axes=[2], keepdims=1),
        helper.make_node("Greater", ["level", "threshold"], ["is_loud"]),
        helper.make_node("Cast", ["is_loud"], ["loud"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["one", "loud"], ["quiet"]),
        helper.make_node("Concat", ["quiet", "loud"], ["both"], axis=2),
        helper.make_node("MatMul", ["both", "one_of_two"], ["said"]),
        helper.make_node("Cast", ["language"], ["number"], to=TensorProto.INT64),
        helper.make_node("OneHot", ["number", "depth", "off_on"], ["spoken"]),
        helper.make_node("Unsqueeze", ["spoken"], ["first"], axes=[1]),
        helper.make_node("Concat", ["first", "head", "said"], ["logits"], axis=1),
    ]
    constants = {
        "threshold": np.array(LOUD, np.float32),
        "one": np.array(1, np.float32),
        "one_of_two": one_of_two,
        "depth": np.array(len(TOKENS), np.int64),
        "off_on": np.array([0, 1], np.float32),
        "head": np.eye(len(TOKENS), dtype=np.float32)[[5, 6, 7]][None],
    }
    inputs: dict[str, tuple[int, list[Any]]] = {"x": (TensorProto.FLOAT, ["N", "T", 560])}
    inputs |= {name: (TensorProto.INT32, ["N"]) for name in ("x_length", "language", "text_norm")}
    metadata = {
        "lfr_window_size": 7,
        "lfr_window_shift": 6,
        "normalize_samples": 0,
        "neg_mean": ",".join(["0"] * 560),
        "inv_stddev": ",".join(["1"] * 560),
        "model_type": model_type,
        "vocab_size": len(TOKENS),
        "blank_id": BLANK,
        "with_itn": 14,
        "without_itn": 15,
        "lang_auto": 0,
        **{f"lang_{language}": number for number, language in enumerate(LANGUAGES)},
    }
    write(directory / "model.int8.onnx", nodes, constants, inputs, ["logits"], metadata)
    write_tokens(directory)
    return directory


def transducer(directory: Path, model_type: str = "zipformer2", **metadata: object) -> Path:
    """Write a transducer that says `la` for each loud 40 ms."""
    directory.mkdir(parents=True, exist_ok=True)
    loud_or_not = np.zeros((2, len(TOKENS)), np.float32)
    loud_or_not[0, 0] = loud_or_not[1, LA] = 1  # in a transducer the blank is 0
    encoder = [
        helper.make_node("Slice", ["x", "zero", "end", "time", "four"], ["fewer"]),
        helper.make_node("ReduceMean", ["fewer"], ["level"], axes=[2], keepdims=1),
        helper.make_node("Greater", ["level", "threshold"], ["is_loud"]),
        helper.make_node("Cast", ["is_loud"], ["loud"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["one", "loud"], ["quiet"]),
        helper.make_node("Concat", ["quiet", "loud"], ["encoder_out"], axis=2),
        helper.make_node("Shape", ["encoder_out"], ["shape"]),
        helper.make_node("Slice", ["shape", "time", "two", "zero", "time"], ["encoder_out_lens"]),
    ]
    whole = {name: np.array([value], np.int64) for name, value in {"zero": 0, "time": 1, "two": 2, "four": 4}.items()}
    whole["end"] = np.array([2**31 - 1], np.int64)
    levels = {"threshold": np.array(LOUD - 2 * np.log(32768), np.float32), "one": np.array(1, np.float32)}
    write(
        directory / "encoder-epoch-1-avg-1.int8.onnx",
        encoder,
        whole | levels,
        {"x": (TensorProto.FLOAT, ["N", "T", 80]), "x_lens": (TensorProto.INT64, ["N"])},
        ["encoder_out", "encoder_out_lens"],
        {"model_type": model_type, **metadata},
    )
    write(
        directory / "decoder-epoch-1-avg-1.onnx",
        [helper.make_node("Cast", ["y"], ["decoder_out"], to=TensorProto.FLOAT)],
        {},
        {"y": (TensorProto.INT64, ["N", 2])},
        ["decoder_out"],
        {"vocab_size": len(TOKENS), "context_size": 2},
    )
    write(
        directory / "joiner-epoch-1-avg-1.onnx",
        [helper.make_node("MatMul", ["encoder_out", "loud_or_not"], ["logit"])],
        {"loud_or_not": loud_or_not},
        {name: (TensorProto.FLOAT, ["N", 2]) for name in ("encoder_out", "decoder_out")},
        ["logit"],
        {"joiner_dim": 2},
    )
    write_tokens(directory)
    return directory


def write_tokens(directory: Path) -> None:
    (directory / "tokens.txt").write_text("".join(f"{token} {number}\n" for number, token in enumerate(TOKENS)))


def write(
    path: Path,
    nodes: list[Any],
    constants: dict[str, Any],
    inputs: Mapping[str, tuple[int, list[Any]]],
    outputs: list[str],
    metadata: dict[str, object],
) -> None:
    """Write a network as a file of ONNX."""
    lengths = {"encoder_out_lens"}
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [
            helper.make_tensor_value_info(name, TensorProto.INT64 if name in lengths else TensorProto.FLOAT, None)
            for name in outputs
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)], ir_version=8)
    helper.set_model_props(model, {key: str(value) for key, value in metadata.items()})
    onnx.save(model, str(path))
