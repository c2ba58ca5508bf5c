"""Runs in the machine: a daemon as far as a typist sees it, which publishes what a test tells it.

python3 talker.py                   is the daemon; the last report of the typist is in /run/typing/report
python3 talker.py TOPIC PAYLOAD     publishes that; for the topic `do`, PAYLOAD is what the typist is asked to do

What is published waits for somebody who has subscribed.
"""

import asyncio
import json
import os
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

SOCKET, CONTROL = "/run/flowpi/flowpi.sock", "/run/typing/control"
REPORT = Path("/run/typing/report")

subscribers: list[asyncio.StreamWriter] = []
reporters: list[asyncio.StreamWriter] = []
subscribed = asyncio.Event()


def send(writer: asyncio.StreamWriter, message: dict[str, Any]) -> None:
    writer.write(json.dumps(message).encode() + b"\n")


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    send(writer, {"hello": {"flowpi": "0", "protocol": 1, "device_id": "desk"}})
    try:
        while line := await reader.readline():
            receive(json.loads(line), writer)
    except OSError:  # the typist was killed
        pass
    for those in (subscribers, reporters):
        those[:] = [one for one in those if one is not writer]
    if not subscribers:
        subscribed.clear()
    writer.close()


def receive(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
    if "subscribe" in request:
        send(writer, {"subscribed": request["subscribe"]})
        send(writer, {"topic": "state", "payload": {"state": "idle"}})
        subscribers.append(writer)
        subscribed.set()
    elif request.get("action") == "report":
        beside = REPORT.with_suffix(".new")
        beside.write_text(json.dumps(request["report"]))
        beside.rename(REPORT)
        reporters[:] = [writer]


async def control(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    topic, payload = json.loads(await reader.readline())
    if topic != "do":
        await subscribed.wait()
    for one in reporters if topic == "do" else subscribers:
        send(one, {"response": 1, "ok": True, "do": payload} if topic == "do" else {"topic": topic, "payload": payload})
    writer.write(b"done\n")
    writer.close()


async def main() -> None:
    for path in (SOCKET, CONTROL):
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).unlink(missing_ok=True)  # noqa: ASYNC240
    server = await asyncio.start_unix_server(serve, SOCKET)
    shutil.chown(SOCKET, group="flowpi")
    os.chmod(SOCKET, 0o660)
    await asyncio.start_unix_server(control, CONTROL, limit=1 << 20)
    await server.serve_forever()


if len(sys.argv) == 1:
    asyncio.run(main())
else:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(CONTROL)
        connection.sendall(json.dumps([sys.argv[1], json.loads(sys.argv[2])]).encode() + b"\n")
        connection.recv(10)
