"""The commands that talk to a running daemon over its local socket: record, listen, status.

A plain blocking socket: these commands start in a tenth of a second because they load no event loop.
"""

import contextlib
import json
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Self, cast

from flowpi.config import Config
from flowpi.core import topics
from flowpi.core.errors import (
    DaemonUnavailable,
    FlowpiError,
    NoInputError,
    NoPermissionError,
    SpoolError,
    TryAgainError,
    UsageError,
)
from flowpi.core.text import escaped
from flowpi.host.paths import find_socket

ANSWER_TIMEOUT_S = 15.0
"""`record stop` answers when the post-roll is heard and the disk has it."""

ERRORS: dict[str, type[FlowpiError]] = {
    "microphone": NoInputError,
    "starting": TryAgainError,
    "too_many_clients": TryAgainError,
    "not_permitted": NoPermissionError,
    "bad_filter": UsageError,
    "bad_request": UsageError,
    "no_such_utterance": UsageError,
    "shutting_down": DaemonUnavailable,
    "spool": SpoolError,
}
"""What the daemon's error codes end a command with; any other: 70."""


DEFAULT_FILTERS = ["availability", "state", "transcript/#", "event/#", "stats"]
"""What `listen` shows: everything but `level`, which costs wake-ups and is made only for those who ask for it."""


class Connection:
    """One conversation with the daemon; closed when its context is left.

    Raises:
        DaemonUnavailable: nobody answers, or the daemon went away.
        NoPermissionError: the socket is not for this user.
    """

    def __init__(self, config: Config) -> None:
        self._path = find_socket(config)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(ANSWER_TIMEOUT_S)
        self._lines = self._socket.makefile("rb")
        try:
            self._socket.connect(str(self._path))
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
                "start it with `systemctl start flowpi`, or `flowpi run`",
            ) from None
        except FlowpiError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    def send(self, request: dict[str, Any]) -> None:
        with contextlib.suppress(ConnectionError):  # the daemon went away: what it said before is still to be read
            self._socket.sendall(json.dumps(request).encode() + b"\n")

    def read(self) -> dict[str, Any]:
        """The next message. Raises the error that the daemon sent, if it is one."""
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
        try:
            return cast(dict[str, Any], self.read()["hello"])
        except (ValueError, KeyError, TypeError, AttributeError):
            raise DaemonUnavailable(
                f"what answers on {str(self._path)!r} is no flowpi", "check publish.socket.path"
            ) from None

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        self.send({**request, "request": 1})
        try:
            return self.read()
        except TimeoutError:
            raise DaemonUnavailable("the daemon does not answer", "see `journalctl -u flowpi`") from None

    def subscribe(self, filters: Sequence[str], *, until: float | None = None) -> Iterator[dict[str, Any]]:
        """Messages, until the daemon goes away. `until`: in monotonic seconds, raises TimeoutError then."""
        self.send({"subscribe": list(filters)})
        self.read()
        while True:
            self._socket.settimeout(None if until is None else max(0.001, until - time.monotonic()))
            yield self.read()


def record(config: Config, action: str) -> int:
    """`flowpi record ACTION`: prints the state that the daemon is in then."""
    with Connection(config) as connection:
        answer = connection.ask({"command": "record", "action": action})
        print(answer["state"])
    if answer.get("recorded") is False:
        raise SpoolError(
            "the disk did not take the sound: it is in memory only", "see `flowpi status`; the text may come"
        )
    return 0


def listen(config: Config, *, filters: Sequence[str], text_only: bool) -> int:
    """`flowpi listen`: messages as JSON lines, or final texts, until the daemon or the reader goes away."""
    wanted = [topics.FINAL] if text_only else list(filters) or DEFAULT_FILTERS
    with Connection(config) as connection:
        for message in connection.subscribe(wanted):
            if not text_only:
                _print(_json_line(message))
            elif text := message["payload"]["text"]:
                _print(" ".join(text.split()))
    return 0


def status(config: Config, *, as_json: bool, follow: bool) -> int:
    """`flowpi status`: one screen for a person, or JSON; with `follow` again at every change."""
    with Connection(config) as connection:
        if not follow:
            now = connection.ask({"command": "status"})["status"]
            _print(json.dumps(now) if as_json else describe(connection.hello, now))
            return 0
        seen: dict[str, Any] = {}
        shown = ""
        for message in connection.subscribe([topics.STATE, topics.STATS]):
            seen[message["topic"]] = message["payload"]
            if topics.STATE in seen:
                state, stats = seen[topics.STATE], seen.get(topics.STATS, {})
                now = json.dumps({"state": state, "stats": stats}) if as_json else _line(state)
                if now != shown:
                    _print(now)
                shown = now
    return 0


def describe(hello: dict[str, Any], now: dict[str, Any]) -> str:
    """The screen."""
    state, stats, backlog = now["state"], now["stats"], now["backlog"]
    oldest = f", the oldest since {backlog['oldest_at']}" if backlog["oldest_at"] else ""
    in_memory = f", {backlog['in_memory']} in memory only" if backlog["in_memory"] else ""
    names = ("delivered", "cancelled", "dropped", "failed")
    counted = [str(stats["dictations"]), *(f"{stats[name]} {name}" for name in names)]
    rows = [
        ("flowpi", f"{hello['flowpi']} on {hello['device_id']}, since {stats['started_at']}"),
        ("state", f"{state['state']} since {state['since']}"),
        ("utterance", state["utterance"] or "-"),
        ("backend", state["backend"] or "none has answered yet"),
        ("kept for later", f"{backlog['count']}{oldest}{in_memory}"),
        ("dictations", ", ".join(counted)),
        ("sound lost", f"{stats['lost_ms']} ms in {stats['gaps']} gaps"),
    ]
    last = [
        f"{name.removesuffix('_ms').replace('_', ' ')} {value:g} ms"
        for name, value in stats.items()
        if name.endswith("_ms") and name != "lost_ms" and value is not None
    ]
    rows += [("last", ", ".join(last))] if last else []
    rows += [("fault", f"{message} (since {since})") for message, since in _faults(state).items()]
    return "\n".join(f"{name:<15} {value}" for name, value in rows)


def _faults(state: dict[str, Any]) -> dict[str, str]:
    """Message and since when. One thing can be two faults: that a backend refuses, and that there is no other."""
    return {fault["message"]: fault["since"] for fault in reversed(state["faults"])}


def _line(state: dict[str, Any]) -> str:
    faults = "".join(f"; {message}" for message in _faults(state))
    kept = f", {state['spooled']} kept for later" if state["spooled"] else ""
    return f"{state['since']} {state['state']}{kept}{faults}"


def _json_line(message: dict[str, Any]) -> str:
    """Readable, and nothing in it that a terminal acts on."""
    return escaped(json.dumps(message, ensure_ascii=False).encode()).decode()


def _print(text: str) -> None:
    """A line at once, safe for a terminal: what was dictated may hold control characters."""
    sys.stdout.write("".join(c if c.isprintable() or c == "\n" else " " for c in text) + "\n")
    sys.stdout.flush()
