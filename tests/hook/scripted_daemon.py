"""A daemon whose texts and crashes a test determines, as far as a hook sees one."""

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any


def payload(number: int, **more: Any) -> dict[str, Any]:
    """Return a text: its id grows with its number, which is in it too."""
    return {"id": f"{number:026}", "part": 1, "text": f"It was text {number}.", "late": False, **more}


class ScriptedDaemon:
    """Answers on a socket. `crash` and `start` are another run, with the same texts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.texts: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []
        self.connections = 0
        self.sink: dict[str, Any] | None = None
        """What it shows of the sink `command`; None: it knows no sinks, as a daemon of before."""
        self.reports: list[dict[str, Any]] = []
        self.refusal: str | None = "bad_request"
        """The error by which each report is refused, as by a daemon of before; None: it waits for `ask`."""
        self.refusals: list[str] = []
        """Those of the next reports, before that."""
        self._reporter: asyncio.StreamWriter | None = None
        self._subscribers: list[asyncio.StreamWriter] = []
        self._clients: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self.path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, self.path)

    async def crash(self) -> None:
        assert self._server is not None
        self._server.close()
        self.drop()

    def stopping(self) -> None:
        """Tell all clients that it stops."""
        for client in self._clients:
            _send(client, {"error": {"code": "shutting_down", "message": "the daemon stops"}})

    def drop(self) -> None:
        """Disconnect all clients."""
        self._subscribers.clear()
        for client in self._clients:
            client.transport.abort()

    @property
    def subscribed(self) -> bool:
        return bool(self._subscribers)

    def say(self, *numbers: int, **more: Any) -> None:
        for number in numbers:
            self.texts.append(payload(number, **more))
            self.publish("transcript/final", self.texts[-1])

    def publish(self, topic: str, content: Any) -> None:
        for client in self._subscribers:
            _send(client, {"topic": topic, "payload": content})

    def _behind(self, after: dict[str, Any]) -> list[dict[str, Any]]:
        mark = (after["id"], after["part"])
        return [one for one in self.texts if (one["id"], one["part"]) > mark]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.add(writer)
        self.connections += 1
        _send(writer, {"hello": {"flowpi": "0", "protocol": 1, "device_id": "desk"}})
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                request = json.loads(line)
                if request.get("action") == "report":
                    self._report(request, writer)
                    continue
                self.asked.append(request)
                if "subscribe" in request:
                    _send(writer, {"subscribed": request["subscribe"]})
                    for one in self._behind(request["after"]) if "after" in request else []:
                        _send(writer, {"topic": "transcript/final", "payload": one})
                    self._subscribers.append(writer)
                elif request["command"] == "sinks":
                    problem = {"code": "bad_request", "message": "unknown command"}
                    answer = (
                        {"ok": False, "error": problem} if self.sink is None else {"ok": True, "sinks": [self.sink]}
                    )
                    _send(writer, {"response": request["request"], **answer})
                else:
                    found = self._behind(request["after"]) if "after" in request else self.texts
                    page = list(reversed(found)) if request.get("order") == "newest" else found
                    _send(writer, {"response": 1, "ok": True, "transcripts": page[: request["limit"]], "more": False})
        self._clients.discard(writer)
        writer.close()

    def _report(self, request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        self.reports.append(request["report"])
        refusal = self.refusals.pop(0) if self.refusals else self.refusal
        if refusal is not None:
            _send(writer, {"response": request["request"], "ok": False, "error": {"code": refusal, "message": refusal}})
        else:
            self._reporter = writer

    def ask(self, what: str) -> None:
        """Answer the report that waits."""
        assert self._reporter is not None
        writer, self._reporter = self._reporter, None
        _send(writer, {"response": 1, "ok": True, "do": what})


def _send(writer: asyncio.StreamWriter, message: dict[str, Any]) -> None:
    writer.write(json.dumps(message).encode() + b"\n")
