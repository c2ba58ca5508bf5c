"""Promise P8: keys leave the daemon in one way only, to the service that they belong to.

Every key here contains `canary`, as in all tests; `conftest.py` searches every log line of every test for that word.
"""

import asyncio
import json
import logging
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from flowpi.host.logfields import fields
from tests.backends.fake_backend import Call, FakeBackend, works
from tests.backends.test_tokens import Desk
from tests.conftest import leaks
from tests.rig.appliance import Appliance

CANARY = "canary"


async def names_the_key(call: Call) -> None:
    while call.session is None:
        await call._receive()
    call.flow.fail(f"I do not like {call.session.access_token}, nor {call.path}")
    await call.flush()


def config_of(directory: Path, **urls: str) -> str:
    """Return a configuration with all kinds of keys: used, refused, fetched and idle."""
    token = {"url": urls["desk"], "api_key": "canary-org"}
    sections = {
        "audio": {"source": "wav", "path": "flowpi/data/demo.wav"},
        "dictation": {"backends": ["cloud", "fetched", "commanded", "house"]},
        "backends": {
            "cloud": {"kind": "flow", "url": urls["refusing"], "client_key": "canary-client"},
            "fetched": {"kind": "flow", "url": urls["refusing"], "token": token},
            "commanded": {"kind": "flow", "url": urls["closed"], "token": {"command": ["cat", urls["file"]]}},
            "house": {"kind": "flow", "url": urls["working"], "api_key": {"file": urls["file"]}},
            "clinic": {"kind": "suki", "partner_id": "p", "partner_token": "canary-partner"},
        },
        "publish": {
            "socket": {"path": str(directory / "flowpi.sock")},
            "files": {"directory": str(directory / "transcripts")},
        },
        "spool": {"directory": str(directory / "spool"), "keep_audio": True},
        "button": {"kind": "none"},
        "led": {"kind": "none"},
    }
    return json.dumps(sections)


async def test_no_key_gets_out(tmp_path: Path, unused_tcp_port: int) -> None:
    file = tmp_path / "key"
    file.write_text("canary-file\n")
    desk = Desk()
    desk.answer = lambda: web.json_response({"access_token": "canary-token", "expires_in": 60})
    async with FakeBackend([names_the_key]) as refusing, FakeBackend([works]) as working, desk as desk_url:
        kept = tmp_path / "kept"
        kept.mkdir()
        config = tmp_path / "flowpi.yaml"
        urls = {"refusing": refusing.url, "working": working.url, "desk": desk_url, "file": str(file)}
        config.write_text(config_of(kept, closed=f"ws://127.0.0.1:{unused_tcp_port}/ws", **urls))
        config.chmod(0o600)
        said = await asyncio.to_thread(use, kept, config)
        # The keys were used: otherwise this test would prove nothing.
        keys = {call.session.access_token for call in refusing.calls + working.calls if call.session}
        assert keys == {"canary-client", "canary-token", "canary-file"}
        assert ("POST", "Bearer canary-org") in {request[:2] for request in desk.requests}
    for what, text in said.items():
        assert CANARY not in text, what
    for path in kept.rglob("*"):
        assert not path.is_file() or CANARY.encode() not in path.read_bytes(), path
    assert "house" in said["socket"]
    assert said["text"] in said["socket"]
    for what in ("log", "notices", "status", "status -vv", "doctor -vv"):
        assert said["text"] not in said[what], what
    assert "I do not like ***" in said["log"]


def use(directory: Path, config: Path) -> dict[str, str]:
    """Run the daemon, and return everything that can be seen of it."""
    said: dict[str, str] = {}
    with Appliance(directory, config=config) as appliance:
        daemon = appliance.start("-vv")
        client = appliance.connect().subscribe("#")
        messages: list[Any] = [client.record("start"), client.record("stop")]
        messages.append(client.wait("transcript/final"))
        said["text"] = messages[-1]["text"]
        for command in (["status"], ["status", "--json"], ["doctor"], ["doctor", "--json"], ["config", "show"]):
            for verbose in ([], ["-vv"]):
                done = appliance.run(*command, *verbose)
                said[" ".join(command + verbose)] = done.stdout + done.stderr
        broken = config.read_text().replace('"canary-client"', '["canary-client"]')
        config.write_text(broken)
        daemon.send(signal.SIGHUP)
        daemon.notice("RELOADING=1")
        daemon.notice("READY=1")
        done = appliance.run("config", "check")
        said["config check"] = done.stdout + done.stderr
        assert done.returncode == 78
        messages.append(client.command(command="status"))
        for part in ("cmdline", "environ"):
            said[part] = Path(f"/proc/{daemon.process.pid}/{part}").read_bytes().decode()
        assert daemon.end() == 0
        said["socket"] = json.dumps(messages + client._unread)
        said["log"] = daemon.log.read_text()
        said["notices"] = "\n".join(daemon.notices)
    return said


def test_the_canary_would_be_seen(caplog: pytest.LogCaptureFixture) -> None:
    """The search in `conftest.py` works."""
    assert not leaks
    logging.getLogger("flowpi.test").debug("a key: %s", f"{CANARY}-{os.getpid()}")
    assert len(leaks) == 1
    leaks.clear()
    logging.getLogger("flowpi.test").debug("a word", extra=fields(backend="it was the best of times"))
    assert leaks.pop().startswith("more than names")
    logging.getLogger("flowpi.test").debug("a key", extra=fields(backend=f"{CANARY}-key"))
    assert CANARY in leaks.pop()
    assert not leaks
