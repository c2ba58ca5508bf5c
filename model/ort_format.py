"""Reads a file of ONNX Runtime's own format (.ort, a flatbuffer) back into an ONNX graph.

The readers of the flatbuffer come inside the onnxruntime wheel. Everything keeps the order that it has in the file, so
that the same file gives the same graph.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto, helper
from onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs.InferenceSession import InferenceSession
from onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs.TensorTypeAndShape import TensorTypeAndShape
from onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs.TypeInfoValue import TypeInfoValue


def read_graph(path: Path) -> GraphProto:
    """Return the main graph of the model in a file."""
    return _graph(InferenceSession.GetRootAsInferenceSession(path.read_bytes(), 0).Model().Graph(), "main")


def read_places(path: Path) -> dict[str, tuple[int, int]]:
    """Return where in a file the data of each weight of the main graph lies: its offset and length in bytes."""
    data = np.fromfile(path, np.uint8)
    graph = InferenceSession.GetRootAsInferenceSession(data, 0).Model().Graph()
    places = {}
    for tensor in _each(graph.Initializers, graph.InitializersLength()):
        if length := tensor.RawDataLength():
            places[_text(tensor.Name())] = tensor.RawDataAsNumpy().ctypes.data - data.ctypes.data, length
    return places


def _uses(node: NodeProto) -> list[str]:
    """Return the values that a node reads, in its own graph or in that of a branch, each once and in order."""
    names = dict.fromkeys(node.input)
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            for inner in attribute.g.node:
                names |= dict.fromkeys(_uses(inner))
            names |= dict.fromkeys(output.name for output in attribute.g.output)
    return list(names)


def _graph(graph: Any, name: str) -> GraphProto:
    kinds = {_text(arg.Name()): arg for arg in _each(graph.NodeArgs, graph.NodeArgsLength())}
    nodes = sorted(_each(graph.Nodes, graph.NodesLength()), key=lambda node: int(node.Index()))
    initializers = [_tensor(tensor) for tensor in _each(graph.Initializers, graph.InitializersLength())]
    constants = {tensor.name for tensor in initializers}
    inputs = [_text(put) for put in _each(graph.Inputs, graph.InputsLength())]
    outputs = [_text(put) for put in _each(graph.Outputs, graph.OutputsLength())]
    return helper.make_graph(
        _in_order([_node(node) for node in nodes]),
        name,
        [_value(kinds, put) for put in inputs if put not in constants],
        [_value(kinds, put) for put in outputs],
        initializers,
    )


def _node(node: Any) -> NodeProto:
    result = NodeProto(name=_text(node.Name()) or f"node_{node.Index()}", op_type=_text(node.OpType()))
    result.domain = _text(node.Domain())
    result.input.extend(_text(put) for put in _each(node.Inputs, node.InputsLength()))
    result.output.extend(_text(put) for put in _each(node.Outputs, node.OutputsLength()))
    result.attribute.extend(_attribute(attribute) for attribute in _each(node.Attributes, node.AttributesLength()))
    return result


def _attribute(attribute: Any) -> AttributeProto:
    result = AttributeProto(name=_text(attribute.Name()), type=attribute.Type())
    match result.type:
        case AttributeProto.FLOAT:
            result.f = attribute.F()
        case AttributeProto.INT:
            result.i = attribute.I()
        case AttributeProto.STRING:
            result.s = attribute.S() or b""
        case AttributeProto.TENSOR:
            result.t.CopyFrom(_tensor(attribute.T()))
        case AttributeProto.GRAPH:
            result.g.CopyFrom(_graph(attribute.G(), result.name))
        case AttributeProto.FLOATS:
            result.floats.extend(_each(attribute.Floats, attribute.FloatsLength()))
        case AttributeProto.INTS:
            result.ints.extend(_each(attribute.Ints, attribute.IntsLength()))
        case AttributeProto.STRINGS:
            result.strings.extend(_each(attribute.Strings, attribute.StringsLength()))
        case kind:
            raise ValueError(f"attribute {result.name} is of kind {kind}")
    return result


def _tensor(tensor: Any) -> TensorProto:
    result = TensorProto(name=_text(tensor.Name()), data_type=tensor.DataType())
    result.dims.extend(_each(tensor.Dims, tensor.DimsLength()))
    if tensor.RawDataLength():
        result.raw_data = tensor.RawDataAsNumpy().tobytes()
    return result


def _value(kinds: dict[str, Any], name: str) -> ValueInfoProto:
    """Return an input or output with its type and shape, as far as the file says."""
    kind = kinds[name].Type() if name in kinds else None
    if kind is None or kind.Value() is None or kind.ValueType() != TypeInfoValue.tensor_type:
        return helper.make_empty_tensor_value_info(name)
    tensor = TensorTypeAndShape()
    tensor.Init(kind.Value().Bytes, kind.Value().Pos)
    if (shape := tensor.Shape()) is None:
        return helper.make_tensor_value_info(name, tensor.ElemType(), None)
    lengths = [_length(dim.Value()) for dim in _each(shape.Dim, shape.DimLength())]
    return helper.make_tensor_value_info(name, tensor.ElemType(), lengths)


def _length(value: Any) -> int | str | None:
    """Return the length of a dimension: a number, the name of one that varies, or None."""
    unknown, number = 0, 1
    if value is None or value.DimType() == unknown:
        return None
    return int(value.DimValue()) if value.DimType() == number else _text(value.DimParam())


def _in_order(nodes: list[NodeProto]) -> list[NodeProto]:
    """Return the nodes so that each comes after those whose values it uses, as ONNX demands."""
    made_by = {name: number for number, node in enumerate(nodes) for name in node.output if name}
    placed, result = set[int](), list[NodeProto]()
    for number in range(len(nodes)):
        stack = [(number, False)]
        while stack:
            at, complete = stack.pop()
            if complete:
                result.append(nodes[at])
            elif at not in placed:
                placed.add(at)
                stack.append((at, True))
                stack += [(made_by[name], False) for name in _uses(nodes[at]) if name in made_by]
    return result


def _each(get: Any, count: int) -> Iterable[Any]:
    return (get(number) for number in range(count))


def _text(name: bytes | str | None) -> str:
    return name.decode() if isinstance(name, bytes) else name or ""
