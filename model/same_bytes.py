"""Gives a saved .ort file the bytes that it always has for the same network.

onnxruntime writes one table, that of the types which each operation's kernel chooses by, in the order of a hash map
whose seed is an address in memory. So the table is in another order at each run; all else in the file is always the
same. Here the table is written again, in order, behind the rest, and its old place is filled with zeros. Places in a
flatbuffer are relative and may point anywhere behind, so that the rest stays as it is.
"""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flatbuffers import Builder
from onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs import (
    ArgTypeAndIndex,
    KernelTypeStrArgsEntry,
    KernelTypeStrResolver,
    OpIdKernelTypeStrArgsEntry,
)
from onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs.InferenceSession import InferenceSession

TYPES_FIELD = 10
"""The place of the table in the list of fields of the file's main table."""


def rewrite_types(path: Path) -> None:
    """Write the table of types again, in order."""
    data = bytearray(path.read_bytes())
    session = InferenceSession.GetRootAsInferenceSession(data, 0)
    table, model = session.KernelTypeStrResolver(), session.Model()
    old, end = table._tab.Pos, model._tab.Pos
    fields = end - struct.unpack_from("<i", data, end)[0]  # the model's list of fields, if it stands before the model
    end = min(end, fields) if fields > old else end
    types = _ordered(table)
    data[old:end] = bytes(end - old)
    data += bytes(-len(data) % 8)
    pointer = session._tab.Pos + session._tab.Offset(TYPES_FIELD)
    struct.pack_into("<I", data, pointer, len(data) - pointer + struct.unpack_from("<I", types)[0])
    path.write_bytes(data + types)


def _ordered(table: Any) -> bytes:
    """Return the table as a flatbuffer of its own."""
    builder = Builder()
    operations = sorted(
        (table.OpKernelTypeStrArgs(at) for at in range(table.OpKernelTypeStrArgsLength())), key=lambda op: op.OpId()
    )
    module = KernelTypeStrResolver
    vector = _vector(builder, [_operation(builder, op) for op in operations], module.StartOpKernelTypeStrArgsVector)
    module.Start(builder)
    module.AddOpKernelTypeStrArgs(builder, vector)
    builder.Finish(module.End(builder))
    return bytes(builder.Output())


def _operation(builder: Builder, operation: Any) -> int:
    entries = sorted(
        (operation.KernelTypeStrArgs(at) for at in range(operation.KernelTypeStrArgsLength())),
        key=lambda entry: entry.KernelTypeStr(),
    )
    module = OpIdKernelTypeStrArgsEntry
    vector = _vector(builder, [_entry(builder, entry) for entry in entries], module.StartKernelTypeStrArgsVector)
    name = builder.CreateString(operation.OpId())
    module.Start(builder)
    module.AddOpId(builder, name)
    module.AddKernelTypeStrArgs(builder, vector)
    return int(module.End(builder))


def _entry(builder: Builder, entry: Any) -> int:
    module = KernelTypeStrArgsEntry
    args = [_arg(builder, entry.Args(at)) for at in range(entry.ArgsLength())]
    vector = _vector(builder, args, module.StartArgsVector)
    name = builder.CreateString(entry.KernelTypeStr())
    module.Start(builder)
    module.AddKernelTypeStr(builder, name)
    module.AddArgs(builder, vector)
    return int(module.End(builder))


def _arg(builder: Builder, arg: Any) -> int:
    ArgTypeAndIndex.Start(builder)
    ArgTypeAndIndex.AddArgType(builder, arg.ArgType())
    ArgTypeAndIndex.AddIndex(builder, arg.Index())
    return int(ArgTypeAndIndex.End(builder))


def _vector(builder: Builder, offsets: list[int], start: Callable[[Builder, int], int]) -> int:
    start(builder, len(offsets))
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())
