"""Reads what a file of ONNX says about itself, without loading the network.

The file is a `ModelProto` of protocol buffers: fields, each with its number, its wire type and its length. The network
itself, which may have hundreds of megabytes, is one of them, and passed over.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

METADATA = 14
"""The field of `ModelProto` that holds an entry of the metadata. In it, field 1 is the key and field 2 the value."""


def read_metadata(path: Path) -> dict[str, str]:
    """Return the metadata by key.

    Raises:
        ValueError: it is no file of ONNX.
        OSError: it cannot be read.
    """
    metadata = {}
    with path.open("rb") as file:
        end = file.seek(0, 2)
        file.seek(0)
        for number, length in _fields(file, end):
            if number == METADATA:
                entry = {}
                for part, size in _fields(file, file.tell() + length):
                    entry[part] = file.read(size).decode()
                metadata[entry.get(1, "")] = entry.get(2, "")
    return metadata


def _fields(file: BinaryIO, end: int) -> Iterator[tuple[int, int]]:
    """Yield the number and the length of each field up to a position; the file is at its beginning then."""
    while file.tell() < end:
        tag = _varint(file)
        match tag & 7:  # the wire type
            case 0:  # a number
                begin = file.tell()
                _varint(file)
                length = file.tell() - begin
                file.seek(begin)
            case 1:
                length = 8
            case 2:  # bytes
                length = _varint(file)
            case 5:
                length = 4
            case other:
                raise ValueError(f"{other} is no wire type")
        if (behind := file.tell() + length) > end:
            raise ValueError("a field goes beyond the end")
        yield tag >> 3, length
        file.seek(behind)


def _varint(file: BinaryIO) -> int:
    value = 0
    for shift in range(0, 64, 7):
        if not (byte := file.read(1)):
            raise ValueError("the file ends in a number")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise ValueError("a number is too long")
