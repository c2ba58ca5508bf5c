"""The interface of Home Assistant that its own pages use: HTTP to set it up, a WebSocket for everything else."""

import contextlib
import http.client
import json
import socket
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, unix_connect

CLIENT_ID = "http://127.0.0.1:8123/"
PATIENCE_S = 120.0


class NotThere(Exception):
    """Home Assistant does not answer, or not yet."""


class Door(http.client.HTTPConnection):
    """A connection through a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("127.0.0.1", timeout=PATIENCE_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE_S)
        self.sock.connect(str(self._path))


class Session:
    """A WebSocket that is logged in. `ask` and `next_event` are not called at once."""

    def __init__(self, socket: ClientConnection, token: str) -> None:
        self._socket = socket
        self._number = 0
        self._events: list[Any] = []
        self._receive()
        self._send({"type": "auth", "access_token": token})
        answer = self._receive()
        assert answer["type"] == "auth_ok", answer

    def ask(self, kind: str, **members: Any) -> Any:
        """Return the result of a command. The events that come meanwhile are kept for `next_event`."""
        self._number += 1
        self._send({"id": self._number, "type": kind, **members})
        while (answer := self._receive())["type"] != "result":
            self._events.append(answer["event"])
        assert answer["success"], (kind, answer)
        return answer["result"]

    def next_event(self) -> Any:
        """Wait for the next event of what `subscribe_events` was asked for."""
        return self._events.pop(0) if self._events else self._receive()["event"]

    def _send(self, message: dict[str, Any]) -> None:
        self._socket.send(json.dumps(message))

    def _receive(self) -> Any:
        return json.loads(self._socket.recv(PATIENCE_S))


class Api:
    """Home Assistant behind a Unix socket. `onboard` comes first, once; its login outlasts restarts."""

    def __init__(self, door: Path) -> None:
        self._door = door
        self._token = ""

    def onboard(self) -> bool:
        """Make its first user, as its first page does. Returns true, or raises NotThere."""
        person = {"name": "rig", "username": "rig", "password": "rig", "language": "en", "client_id": CLIENT_ID}
        code = self.post("/api/onboarding/users", person)["auth_code"]
        grant = urllib.parse.urlencode({"grant_type": "authorization_code", "code": code, "client_id": CLIENT_ID})
        self._token = self._request("POST", "/auth/token", grant, "application/x-www-form-urlencoded")["access_token"]
        with self.session() as session:
            self._token = session.ask("auth/long_lived_access_token", client_name="rig", lifespan=1)
        return True

    def post(self, path: str, content: object) -> Any:
        """Raises NotThere."""
        return self._request("POST", path, json.dumps(content), "application/json")

    @contextlib.contextmanager
    def session(self) -> Iterator[Session]:
        """Raises NotThere, also in the block."""
        uri = "ws://127.0.0.1/api/websocket"
        try:
            with unix_connect(str(self._door), uri, open_timeout=PATIENCE_S, max_size=None) as socket:
                yield Session(socket, self._token)
        except (OSError, WebSocketException) as error:
            raise NotThere from error

    def _request(self, method: str, path: str, body: str, content_type: str) -> Any:
        headers = {"Content-Type": content_type}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        door = Door(self._door)
        try:
            door.request(method, path, body, headers)
            answer = door.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise NotThere from error
        finally:
            door.close()
        if answer.status == 404:  # the port is open before the views are there
            raise NotThere(path)
        assert answer.status < 300, (method, path, answer.status, content)
        return json.loads(content)
