"""Typed messages to and from WebSocket frames, in JSON or MessagePack.

One set of `msgspec.Struct` types serves both encodings: a `bytes` field is base64 text in JSON and `bin` in
MessagePack. A frame is `str` for a WebSocket text frame and `bytes` for a binary one.
"""

import enum
from typing import Any, TypeVar

import msgpack
import msgspec

from flowpi.core.safe_text import printable

Frame = str | bytes

MAX_FRAME_BYTES = 256 * 1024
"""The longest frame that a client accepts; the text of six minutes of speech is under 10 KB."""

MAX_ITEMS = 16 * 1024
"""The bound on the entries of one MessagePack array or map, which can announce 2**32 entries in five bytes."""

MAX_ENTRIES = 64 * 1024
"""The bound on the entries of a whole message: each may be a container of one byte on the wire and 64 in memory."""

MAX_TOLERATED_BYTES = 16 * 1024
"""The longest frame that is read a second time: more than a text needs."""

MAX_TOLERATED_ENTRIES = 256
"""The bound on the entries of such a frame. More than that is an attack, which would hold the loop."""

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
            if _entries(frame) > MAX_ENTRIES:
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


def decode_tolerantly(frame: Frame, as_type: type[T] | Any) -> T | Any:
    """Read one frame as `decode` does, or else as far as it can be read.

    Python's servers write NaN, which JSON has not; a text that was cut in the middle of a letter holds half a surrogate
    pair or broken UTF-8; MessagePack has types that nobody needs. None of these is a reason to lose a text: a broken
    letter becomes U+FFFD, an unknown type None.

    Raises:
        DecodeError: what `as_type` needs is not there.
    """
    try:
        return decode(frame, as_type)
    except DecodeError:
        if len(frame) > MAX_TOLERATED_BYTES or (isinstance(frame, str) and _entries(frame) > MAX_TOLERATED_ENTRIES):
            raise
        try:
            return msgspec.convert(_plain(frame), as_type, builtin_types=(bytes,), strict=True)
        except (msgspec.ValidationError, ValueError, RecursionError, msgpack.UnpackException, DecodeError):
            pass
        raise


def _entries(frame: str) -> int:
    """Return how many entries a JSON text may have at most, without reading it."""
    return frame.count("[") + frame.count("{") + frame.count(",")


def _plain(frame: Frame) -> Any:
    """Read a frame without types. Raises ValueError and its kind, RecursionError or UnpackException."""
    if isinstance(frame, str):
        import json

        return _mended(json.loads(frame))
    count = _Count(MAX_TOLERATED_ENTRIES).add
    return msgpack.unpackb(
        frame,
        max_array_len=MAX_ITEMS,
        max_map_len=MAX_ITEMS,
        unicode_errors="replace",
        ext_hook=lambda code, data: None,
        list_hook=count,
        object_hook=count,
    )


def _mended(value: Any) -> Any:
    """Return plain JSON with U+FFFD for each half of a surrogate pair."""
    match value:
        case str():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case list():
            return [_mended(each) for each in value]
        case dict():
            return {_mended(name): _mended(each) for name, each in value.items()}
        case _:
            return value


class _Count:
    """Counts the entries of all arrays and maps of a message while they are read."""

    def __init__(self, most: int = MAX_ENTRIES) -> None:
        self._entries = 0
        self._most = most

    def add(self, container: T) -> T:
        self._entries += 1 + len(container)  # type: ignore[arg-type]
        if self._entries > self._most:
            raise DecodeError(f"more than {self._most} entries")
        return container
