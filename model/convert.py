"""Converts Moonshine base from the form in which its makers ship it to one that is five times as fast.

    python model/convert.py WHEEL DIRECTORY

WHEEL is that of moonshine-cpp, with the model's files in it. Their weights are int8 already, but are multiplied out to
floats at every run, and the largest of them, 54 MB, is transposed at every token. Here the weights are multiplied out
once, transposed once, and quantised in the way that onnxruntime computes with: as unsigned numbers, because products
with signed ones saturate at 16 bits on an x86-64 without VNNI, where the model then writes three times as many errors.

The same files with the same versions of the libraries give the same bytes: `make model` checks it.
"""

import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper, save
from onnxruntime.quantization import QuantType, quantize_dynamic
from ort_format import read_graph, uses
from same_bytes import rewrite_types

NETWORKS = {"encoder_model": ["MatMul"], "decoder_model_merged": ["MatMul", "Gather"]}
"""The networks, and the operations whose weights are quantised. Gather looks up the decoder's tokens."""

TOKENIZER = "tokenizer.bin"

OPSET, IR_VERSION = 14, 8
"""What the operations in the files are defined by, and the oldest form of file that can hold them."""


def convert(source: Path, target: Path) -> None:
    """Convert all files of a model."""
    target.mkdir(parents=True, exist_ok=True)
    for name, operations in NETWORKS.items():
        graph = read_graph(source / f"{name}.ort")
        fold_weights(graph)
        transpose_weights(graph)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        with tempfile.TemporaryDirectory() as directory:
            floats, quantised = Path(directory, "floats.onnx"), Path(directory, "quantised.onnx")
            save(model, floats)
            # The decoder's steps are two branches.
            options = {"EnableSubgraph": True, "MatMulConstBOnly": True, "WeightSymmetric": True}
            quantize_dynamic(
                floats,
                quantised,
                op_types_to_quantize=operations,
                per_channel=True,
                weight_type=QuantType.QUInt8,
                extra_options=options,
            )
            save_as_ort(quantised, target / f"{name}.ort")
    shutil.copyfile(source / TOKENIZER, target / TOKENIZER)


def fold_weights(graph: GraphProto) -> None:
    """Replace what is computed from constants alone, by the operations that multiply weights out, with its result."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    results, kept = dict[str, NDArray[np.float32]](), list[NodeProto]()

    def known(name: str) -> NDArray[np.float32] | None:
        if name in results:
            return results[name]
        return numpy_helper.to_array(constants[name]) if name in constants else None

    for node in graph.node:
        values = [value for value in map(known, node.input) if value is not None]
        result = computed(node, values) if len(values) == len(node.input) else None
        if result is None:
            kept.append(node)
        else:
            results[node.output[0]] = result
    used = {name for node in kept for name in uses(node)} | {output.name for output in graph.output}
    tensors = [tensor for tensor in graph.initializer if tensor.name in used]
    tensors += [numpy_helper.from_array(value, name) for name, value in results.items() if name in used]
    replace_all(graph.node, kept)
    replace_all(graph.initializer, tensors)


def computed(node: NodeProto, values: list[NDArray[np.float32]]) -> NDArray[np.float32] | None:
    """Return the result of a node for these values, or None if it is none of the operations in question."""
    match node.op_type, values:
        case "Cast", [value] if node.attribute[0].i == TensorProto.FLOAT:
            return value.astype(np.float32)
        case "Mul", [a, b]:
            return np.multiply(a, b).astype(np.float32)
        case "Add", [a, b]:
            return np.add(a, b).astype(np.float32)
    return None


def transpose_weights(graph: GraphProto) -> None:
    """Replace each transposition of a constant matrix in a branch with a constant that is transposed."""
    matrices = {tensor.name: tensor for tensor in graph.initializer if len(tensor.dims) == 2}
    added = dict[str, TensorProto]()
    branches = [attribute.g for node in graph.node if node.op_type == "If" for attribute in node.attribute]
    for branch in branches:
        names, kept = dict[str, str](), list[NodeProto]()
        for node in branch.node:
            if node.op_type == "Transpose" and node.input[0] in matrices:
                name = names[node.output[0]] = f"{node.input[0]}_transposed"
                matrix = numpy_helper.to_array(matrices[node.input[0]])
                added[name] = numpy_helper.from_array(np.ascontiguousarray(matrix.T), name)
            else:
                kept.append(node)
        for node in kept:
            replace_all(node.input, [names.get(name, name) for name in node.input])
        replace_all(branch.node, kept)
    graph.initializer.extend(added.values())


def save_as_ort(source: Path, target: Path) -> None:
    """Optimise a network for any processor, and save it in the format that loads fastest."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(target)
    # ENABLE_ALL would also arrange the weights for the processor of this machine.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    rewrite_types(target)


def replace_all(field, values) -> None:  # type: ignore[no-untyped-def]  # protobuf has no type for a field of many
    del field[:]
    field.extend(values)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as unpacked:
        zipfile.ZipFile(sys.argv[1]).extractall(unpacked)
        (files,) = Path(unpacked).glob("*/purelib/moonshine_cpp/models/base-en")
        convert(files, Path(sys.argv[2]))
