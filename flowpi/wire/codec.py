"""Typed messages to and from WebSocket frames, in JSON or MessagePack.

One set of `msgspec.Struct` types serves both encodings: a `bytes` field is base64 text in JSON and `bin` in
MessagePack. A frame is `str` for a WebSocket text frame and `bytes` for a binary one.
"""

import enum
from typing import Any, TypeVar

import msgpack
import msgspec

from flowpi.core.text import printable

Frame = str | bytes

MAX_FRAME_BYTES = 256 * 1024
"""The longest frame that a client accepts; the text of six minutes of speech is under 10 KB."""

MAX_ITEMS = 16 * 1024
"""The bound on the entries of one MessagePack array or map, which can announce 2**32 entries in five bytes."""

MAX_ENTRIES = 64 * 1024
"""The bound on the entries of a whole message: each may be a container of one byte on the wire and 64 in memory."""

T = TypeVar("T")


class Encoding(enum.Enum):
    JSON = "json"
    MSGPACK = "msgpack"


class DecodeError(Exception):
    """A frame is not a message of the dialect. `str()` names the field in at most 200 characters, all printable.

    It quotes no value except a tag that does not exist.
    """


def encode(message: msgspec.Struct, encoding: Encoding) -> Frame:
    if encoding is Encoding.JSON:
        return msgspec.json.encode(message).decode()
    return bytes(msgpack.packb(msgspec.to_builtins(message, builtin_types=(bytes,))))


def decode(frame: Frame, as_type: type[T] | Any) -> T | Any:
    """Read one frame: a text frame is JSON, a binary frame MessagePack.

    Raises:
        DecodeError: it is neither, or it does not fit `as_type`.
    """
    try:
        if isinstance(frame, str):
            if frame.count("[") + frame.count("{") + frame.count(",") > MAX_ENTRIES:
                raise DecodeError(f"more than {MAX_ENTRIES} entries")
            return msgspec.json.decode(frame, type=as_type)
        count = _Count().add
        plain = msgpack.unpackb(
            frame, max_array_len=MAX_ITEMS, max_map_len=MAX_ITEMS, max_ext_len=0, list_hook=count, object_hook=count
        )
        return msgspec.convert(plain, as_type, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        # The tag that it quotes is chosen by the peer: any text of any length.
        raise DecodeError(printable(str(error))) from None
    except (msgspec.DecodeError, ValueError, RecursionError, msgpack.UnpackException) as error:
        # msgpack's own errors derive from ValueError; so do a lone surrogate and an integer of a million digits.
        what = "JSON" if isinstance(frame, str) else "MessagePack"
        raise DecodeError(f"not {what} ({type(error).__name__})") from None


class _Count:
    """Counts the entries of all arrays and maps of a message while they are read."""

    def __init__(self) -> None:
        self._entries = 0

    def add(self, container: T) -> T:
        self._entries += 1 + len(container)  # type: ignore[arg-type]
        if self._entries > MAX_ENTRIES:
            raise DecodeError(f"more than {MAX_ENTRIES} entries")
        return container
