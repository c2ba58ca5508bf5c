"""Builds the networks of Moonshine anew from their weights, without the operations that compute nothing.

As they are exported, three quarters of the time of a step of the decoder go into 700 small operations: shapes that
never change, masks of nothing, padding by zero, and a branch for the first step. What is built here multiplies by the
same quantised weights in the same order, and differs in nothing but the last bits of sums.

    encoder   input_values -> the keys and values that the decoder's attention reads: `present.N.encoder.key`, `.value`
    decoder   input_ids, these (`past_key_values.N.encoder.key`, `.value`) and what the steps before gave
              (`past_key_values.N.decoder.key`, `.value`) -> logits, `present.N.decoder.key`, `.value`

The keys of the encoder are transposed once, here, as each step multiplies by them. All texts of a batch share one row
of them. Any number of tokens may go into one run of the decoder.
"""

import re
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper
from ort_format import read_graph

MICROSOFT = "com.microsoft"
"""The domain of the operations that onnxruntime adds to those of ONNX."""

OPSET, IR_VERSION = 17, 8

HEADS = 8
EPSILON = 1e-5
END = 2**31 - 1
"""The end of a slice that goes to the last element."""


@dataclass(frozen=True)
class Matrix:
    """The names of the weights with which a network multiplies."""

    numbers: str
    """uint8, shape (inputs, outputs)."""
    scale: str
    zero: str
    bias: str = ""


class Source:
    """A network as it was exported: its weights, and the nodes that use them, by what they make."""

    def __init__(self, path: Path) -> None:
        self.weights = dict[str, TensorProto]()
        self.nodes = dict[str, NodeProto]()
        self._add(read_graph(path))

    def _add(self, graph: GraphProto) -> None:
        self.weights |= {tensor.name: tensor for tensor in graph.initializer}
        for node in graph.node:
            branches = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
            for branch in branches:
                self._add(branch)
            if not branches:
                self.nodes |= dict.fromkeys(node.output, node)

    def node(self, made: str) -> NodeProto:
        """Return the node that makes the value whose whole name a regular expression matches."""
        (name,) = (name for name in self.nodes if re.fullmatch(made, name))
        return self.nodes[name]

    def matrix(self, made: str) -> Matrix:
        """Return the quantised matrix with which the value is made whose whole name a regular expression matches."""
        node = self.node(made)
        if node.op_type == "DynamicQuantizeMatMul":
            _, numbers, scale, zero, bias = node.input
            return Matrix(numbers, scale, zero, bias)
        assert node.op_type == "MatMulIntegerToFloat"
        return Matrix(node.input[1], node.input[3], node.input[5])

    def weight(self, pattern: str) -> str:
        """Return the name of the weight that matches a regular expression to its end."""
        (name,) = (name for name in self.weights if re.search(f"{pattern}$", name))
        return name

    @property
    def frequencies(self) -> str:
        """The name of the frequencies of the rotary embedding: shape (1, frequencies, 1)."""
        shapes = {name: list(tensor.dims) for name, tensor in self.weights.items() if tensor.data_type == 1}
        return next(name for name, shape in shapes.items() if len(shape) == 3 and shape[::2] == [1, 1])

    @property
    def layers(self) -> int:
        found = (re.search(r"layers\.(\d+)\.", name) for name in self.weights)
        return 1 + max(int(match[1]) for match in found if match)


class Builder:
    """A graph that grows: each method adds a node, and returns the name of what it makes."""

    def __init__(self) -> None:
        self._nodes = list[NodeProto]()
        self._weights = dict[str, TensorProto]()

    def add(self, kind: str, *inputs: str, out: str = "", domain: str = "", **attributes: Any) -> str:
        out = out or f"{kind}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [out], domain=domain, **attributes))
        return out

    def add_many(self, kind: str, *inputs: str, outs: Sequence[str], domain: str = "", **attributes: Any) -> None:
        self._nodes.append(helper.make_node(kind, inputs, outs, domain=domain, **attributes))

    def constant(self, values: ArrayLike, kind: type = np.int64) -> str:
        array: Any = np.asarray(values, kind)
        name = f"constant_{array.dtype}_{array.tolist()}"
        self._weights[name] = numpy_helper.from_array(array, name)
        return name

    def use(self, source: Source, name: str) -> str:
        self._weights[name] = source.weights[name]
        return name

    def multiply(self, source: Source, made: str, value: str, *, out: str = "") -> str:
        """Multiply by the quantised matrix with which the source makes the value that `made` matches."""
        weights = [self.use(source, name) if name else "" for name in astuple(source.matrix(made))]
        return self.add("DynamicQuantizeMatMul", value, *weights, domain=MICROSOFT, out=out)

    def quantise(self, value: str) -> tuple[str, str, str]:
        outs = f"{value}_quantised", f"{value}_scale", f"{value}_zero"
        self.add_many("DynamicQuantizeLinear", value, outs=outs)
        return outs

    def multiply_quantised(self, source: Source, made: str, quantised: tuple[str, str, str]) -> str:
        """Do the same as `multiply` with a value that is quantised already."""
        numbers, scale, zero, bias = astuple(source.matrix(made))
        assert not bias
        numbers, scale, zero = (self.use(source, name) for name in (numbers, scale, zero))
        value, value_scale, value_zero = quantised
        inputs = value, numbers, value_scale, scale, value_zero, zero
        return self.add("MatMulIntegerToFloat", *inputs, domain=MICROSOFT)

    def norm(self, source: Source, weight: str, value: str) -> str:
        return self.add("LayerNormalization", value, self.use(source, source.weight(weight)), axis=-1, epsilon=EPSILON)

    def heads(
        self, value: str, order: Sequence[int] = (0, 2, 1, 3), *, shape: Sequence[int] = (0, 0, HEADS, -1)
    ) -> str:
        """Split what each token has between the heads, whose axis becomes the second."""
        return self.add("Transpose", self.add("Reshape", value, self.constant(shape)), perm=order)

    def attention(self, query: str, keys: str, values: str, width: int) -> str:
        """Return what each token attends to: (rows, tokens, width) from (rows, HEADS, tokens, width / HEADS).

        `keys` are transposed: (rows, HEADS, width / HEADS, frames).
        """
        scale = float(np.sqrt(HEADS / width))
        likeness = self.add("Softmax", self.add("FusedMatMul", query, keys, domain=MICROSOFT, alpha=scale), axis=-1)
        heard = self.add("Transpose", self.add("MatMul", likeness, values), perm=(0, 2, 1, 3))
        return self.add("Reshape", heard, self.constant((0, 0, width)))

    def rotation(self, source: Source, first: str, end: str) -> tuple[str, str]:
        """Return the cosines and sines by which the positions from `first` up to `end` are rotated."""
        places = self.add("Cast", self.add("Range", first, end, self.constant(1)), to=TensorProto.FLOAT)
        frequencies = self.add("Reshape", self.use(source, source.frequencies), self.constant((1, -1)))
        angles = self.add("Mul", self.add("Unsqueeze", places, self.constant([1])), frequencies)
        return self.add("Cos", angles), self.add("Sin", angles)

    def rotate(self, source: Source, value: str, rotation: tuple[str, str]) -> str:
        size = 2 * source.weights[source.frequencies].dims[1]
        options: dict[str, Any] = {"interleaved": 1, "num_heads": HEADS, "rotary_embedding_dim": size}
        return self.add("RotaryEmbedding", value, self.constant([0]), *rotation, domain=MICROSOFT, **options)

    def length(self, value: str, axis: int) -> str:
        return self.add("Squeeze", self.add("Shape", value, start=axis, end=axis + 1))

    def model(self, inputs: Sequence[ValueInfoProto], outputs: Sequence[ValueInfoProto]) -> ModelProto:
        graph = helper.make_graph(self._nodes, "main", inputs, outputs, list(self._weights.values()))
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def encoder(source: Source, decoder_source: Source) -> ModelProto:
    """Build the encoder with what the decoder computes once from its result."""
    build = Builder()
    value = _frames(build, source)
    width = source.weights[source.weight("layer_norm.weight")].dims[0]
    rotation = build.rotation(source, build.constant(0), build.length(value, 1))
    for layer in range(source.layers):
        made = rf".*/layers\.{layer}/self_attn/{{}}_proj/MatMul_output_0"
        heard = build.quantise(build.norm(source, rf"layers\.{layer}\.input_layernorm\.weight", value))
        query, keys, values = (build.multiply_quantised(source, made.format(part), heard) for part in "qkv")
        query, keys = (build.rotate(source, part, rotation) for part in (query, keys))
        query, keys, values = build.heads(query), build.heads(keys, (0, 2, 3, 1)), build.heads(values)
        context = build.attention(query, keys, values, width)
        made = rf".*/layers\.{layer}/self_attn/(o_proj|dense)/MatMul_output_0"
        value = build.add("Add", value, build.multiply(source, made, context))
        more = build.norm(source, rf"layers\.{layer}\.post_attention_layernorm\.weight", value)
        made = rf".*/layers\.{layer}/mlp/fc{{}}/Add_output_0"
        more = build.add("Gelu", build.multiply(source, made.format(1), more), domain=MICROSOFT)
        value = build.add("Add", value, build.multiply(source, made.format(2), more))
    heard = build.quantise(build.norm(source, r"^layer_norm\.weight", value))
    outputs = []
    for layer in range(decoder_source.layers):
        for part, order in (("key", (0, 2, 3, 1)), ("value", (0, 2, 1, 3))):
            made = rf".*/layers\.{layer}/encoder_attn/{part[0]}_proj/MatMul_output_0"
            split = build.heads(build.multiply_quantised(decoder_source, made, heard), order)
            build.add("Identity", split, out=f"present.{layer}.encoder.{part}")
            outputs.append(_heard(f"present.{layer}.encoder.{part}", width))
    return build.model([_floats("input_values", 1, "samples")], outputs)


def _frames(build: Builder, source: Source) -> str:
    """Turn sound into frames, 42 a second, by three convolutions: shape (1, frames, width).

    The second and third are multiplications of matrices, which is a tenth quicker.
    """
    value = build.add("Unsqueeze", "input_values", build.constant([1]))
    options: dict[str, Any] = {"kernel_shape": [127], "strides": [64], "activation": "Tanh"}
    kernel = build.use(source, "conv1.weight_add_tensor")
    value = build.add("FusedConv", value, kernel, domain=MICROSOFT, **options)
    width = source.weights[kernel].dims[0]
    one, zero = build.constant([1], np.float32), build.constant([0], np.float32)
    value = build.add("Reshape", value, build.constant((0, 1, -1)))
    value = build.add("InstanceNormalization", value, one, zero, epsilon=EPSILON)
    value = build.add("Reshape", value, build.constant((0, width, -1)))
    for kind in ("Mul", "Add"):
        (weight,) = (name for name in source.node(f"/groupnorm/{kind}_output_0").input if name in source.weights)
        value = build.add(kind, value, build.use(source, weight))
    value = build.add("Transpose", value, perm=(0, 2, 1))
    for number, stride in ((2, 3), (3, 2)):
        kernel = build.use(source, f"conv{number}.weight_add_tensor")
        outs, ins, size = source.weights[kernel].dims
        matrix = build.add("Transpose", kernel, perm=(2, 1, 0))
        matrix = build.add("Reshape", matrix, build.constant((size * ins, outs)))
        stride_of = build.constant([1]), build.constant([stride])  # the axis, and the step
        ends = [at - size + 1 if at < size - 1 else END for at in range(size)]
        slices = [
            build.add("Slice", value, build.constant([at]), build.constant([end]), *stride_of)
            for at, end in enumerate(ends)
        ]
        value = build.add("MatMul", build.add("Concat", *slices, axis=2), matrix)
        value = build.add("Add", value, build.use(source, f"conv{number}.bias"))
        value = build.add("Gelu", value, domain=MICROSOFT)
    return value


def decoder(source: Source) -> ModelProto:
    """Build the decoder for the first step and all others."""
    build = Builder()
    table = source.weight(r"embed_tokens\.weight_merged_0_quantized")
    width = source.weights[table].dims[1]
    scale, zero = (table.replace("quantized", part) for part in ("scale", "zero_point"))
    value = build.add("Gather", build.use(source, table), "input_ids")
    value = build.add("DequantizeLinear", value, build.use(source, scale), build.use(source, zero))
    before = build.length("past_key_values.0.decoder.key", 2)
    rotation = build.rotation(source, before, build.add("Add", before, build.length("input_ids", 1)))
    shape = build.add("Concat", build.add("Shape", "input_ids"), build.constant([width]), axis=0)
    inputs, outputs = list[ValueInfoProto](), list[ValueInfoProto]()
    for layer in range(source.layers):
        made = rf".*/layers\.{layer}/self_attn/{{}}_proj/MatMul_output_0"
        heard = build.quantise(build.norm(source, rf"layers\.{layer}\.input_layernorm\.weight_merged_0", value))
        query, keys, values = (build.multiply_quantised(source, made.format(part), heard) for part in "qkv")
        query, keys = (build.rotate(source, part, rotation) for part in (query, keys))
        past, present = ([f"{when}.{layer}.decoder.{part}" for part in ("key", "value")] for when in WHEN)
        own = f"attention_{layer}"
        options: dict[str, Any] = {"num_heads": HEADS, "unidirectional": 1, "domain": MICROSOFT}
        build.add_many("MultiHeadAttention", query, keys, values, "", "", "", *past, outs=[own, *present], **options)
        made = rf".*/layers\.{layer}/self_attn/(o_proj|dense)/MatMul_output_0"
        value = build.add("Add", value, build.multiply(source, made, own))
        query = build.norm(source, rf"layers\.{layer}\.post_attention_layernorm\.weight_merged_0", value)
        query = build.multiply(source, rf".*/layers\.{layer}/encoder_attn/q_proj/MatMul_output_0", query)
        # Nothing orders the texts of a batch: here they are tokens of one row, that of the encoder.
        query = build.heads(query, shape=(1, -1, HEADS, width // HEADS))
        key, sound = (f"past_key_values.{layer}.encoder.{part}" for part in ("key", "value"))
        more = build.add("Reshape", build.attention(query, key, sound, width), shape)
        made = rf".*/layers\.{layer}/encoder_attn/(o_proj|dense)/MatMul_output_0"
        value = build.add("Add", value, build.multiply(source, made, more))
        more = build.norm(source, rf"layers\.{layer}\.final_layernorm\.weight_merged_0", value)
        halves = f"up_{layer}", f"gate_{layer}"
        made = rf".*/layers\.{layer}/mlp/{{}}/Add_output_0"
        more = build.multiply(source, made.format("(fc1|up_proj)"), more)
        build.add_many("Split", more, outs=halves, axis=-1)
        more = build.add("Mul", build.add("QuickGelu", halves[1], domain=MICROSOFT, alpha=1.0), halves[0])
        value = build.add("Add", value, build.multiply(source, made.format("(fc2|down_proj)"), more))
        inputs += [_own(name, "past", width) for name in past] + [_heard(key, width), _heard(sound, width)]
        outputs += [_own(name, "all", width) for name in present]
    value = build.norm(source, r"decoder\.norm\.weight_merged_0", value)
    build.multiply(source, "logits", value, out="logits")
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ("texts", "tokens"))
    return build.model([ids, *inputs], [_floats("logits", "texts", "tokens", "vocabulary"), *outputs])


WHEN = "past_key_values", "present"


def _own(name: str, length: str, width: int) -> ValueInfoProto:
    return _floats(name, "texts", HEADS, length, width // HEADS)


def _heard(name: str, width: int) -> ValueInfoProto:
    shape = (width // HEADS, "frames") if name.endswith("key") else ("frames", width // HEADS)
    return _floats(name, 1, HEADS, *shape)


def _floats(name: str, *shape: int | str) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def write(graph: ModelProto, path: Path) -> None:
    path.write_bytes(graph.SerializeToString(deterministic=True))
