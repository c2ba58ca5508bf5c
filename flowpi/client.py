"""A connection to a running daemon over its local socket, for the commands and the doctor.

It uses a plain blocking socket: commands start in a tenth of a second because they import no event loop.
"""

import contextlib
import json
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Self, cast

from flowpi.config.schema import Config
from flowpi.core.errors import (
    DaemonUnavailable,
    FlowpiError,
    NoInputError,
    NoPermissionError,
    SpoolError,
    TryAgainError,
    UnavailableError,
    UsageError,
)
from flowpi.host.paths import find_socket
from flowpi.host.units import how_to_start_daemon

ANSWER_TIMEOUT_S = 15.0
"""How long to wait for a response. `record stop` responds only when the post-roll is recorded and on the disk."""

ERRORS: dict[str, type[FlowpiError]] = {
    "microphone": NoInputError,
    "recording": TryAgainError,
    "starting": TryAgainError,
    "too_many_clients": TryAgainError,
    "not_permitted": NoPermissionError,
    "bad_filter": UsageError,
    "bad_request": UsageError,
    "no_such_sink": UsageError,
    "no_such_utterance": UsageError,
    "shutting_down": DaemonUnavailable,
    "sink_absent": UnavailableError,
    "spool": SpoolError,
    "transcripts": SpoolError,
}
"""The error to raise for an error code of the daemon. Any other code raises FlowpiError, whose exit code is 70."""


class DaemonConnection:
    """One connection to the daemon, closed at the end of its `with` block.

    Raises:
        DaemonUnavailable: no daemon answers, or the daemon closed the connection.
        NoPermissionError: this user may not connect.
    """

    def __init__(self, config: Config) -> None:
        self._path = find_socket(config)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # No timeout of Python's for the connection: it makes the socket non-blocking, and then a crowd that connects at
        # the same time has this client refused (EAGAIN), where it should wait for its turn.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", int(ANSWER_TIMEOUT_S), 0))
        self._lines = self._socket.makefile("rb")
        try:
            self._socket.connect(str(self._path))
            self._socket.settimeout(ANSWER_TIMEOUT_S)
            self.hello = self._read_hello()
        except PermissionError:
            self.close()
            raise NoPermissionError(
                f"the socket {str(self._path)!r} is not for this user", "join its group: sudo adduser $USER flowpi"
            ) from None
        except OSError as error:
            self.close()
            raise DaemonUnavailable(
                f"no daemon answers on {str(self._path)!r} ({(error.strerror or str(error)).lower()})",
                f"start it with {how_to_start_daemon()}",
            ) from None
        except FlowpiError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. Harmless if it is closed."""
        self._lines.close()
        self._socket.close()

    def send(self, request: dict[str, Any]) -> None:
        """Send a request. If the daemon has closed the connection, only the next `read` raises."""
        with contextlib.suppress(ConnectionError):  # what the daemon sent before, such as the reason, is still unread
            self._socket.sendall(json.dumps(request).encode() + b"\n")

    def read(self) -> dict[str, Any]:
        """Wait for the next message and return it.

        Raises:
            TimeoutError: none came in time.
            DaemonUnavailable: the daemon closed the connection.
            FlowpiError: the message is an error, as in `ERRORS`.
        """
        try:
            line = self._lines.readline()
        except ConnectionError:
            line = b""
        if not line.endswith(b"\n"):
            raise DaemonUnavailable("the daemon went away", "see `journalctl -u flowpi`")
        message = cast(dict[str, Any], json.loads(line))
        if error := message.get("error"):
            raise ERRORS.get(error["code"], FlowpiError)(error["message"])
        return message

    def _read_hello(self) -> dict[str, Any]:
        """Read the daemon's greeting. Raises DaemonUnavailable if it is another program."""
        try:
            return cast(dict[str, Any], self.read()["hello"])
        except (ValueError, KeyError, TypeError, AttributeError):
            raise DaemonUnavailable(
                f"what answers on {str(self._path)!r} is no flowpi", "check publish.socket.path"
            ) from None

    def ask(self, request: dict[str, Any], *, timeout_s: float | None = ANSWER_TIMEOUT_S) -> dict[str, Any]:
        """Send a command, wait for its response and return it. Raises what `read` raises for an error.

        Args:
            timeout_s: how long to wait; None for as long as the daemon needs.
        """
        self._socket.settimeout(timeout_s)
        self.send({**request, "request": 1})
        try:
            return self.read()
        except TimeoutError:
            raise DaemonUnavailable("the daemon does not answer", "see `journalctl -u flowpi`") from None

    def subscribe(
        self, filters: Sequence[str], *, until: float | None = None, after: dict[str, Any] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Yield the messages of these topic filters.

        Args:
            after: the id and part of the text behind which final texts begin; None for those that come.
            until: when to stop waiting, in monotonic seconds; None for never.

        Raises:
            TimeoutError: `until` has passed.
            DaemonUnavailable: the daemon closed the connection.
        """
        self.send({"subscribe": list(filters), **({"after": after} if after is not None else {})})
        self.read()
        while True:
            self._socket.settimeout(None if until is None else max(0.001, until - time.monotonic()))
            yield self.read()
