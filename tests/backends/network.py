"""Failures of a network that only a network has: `python -m tests.backends.network SCENARIO` prints what came of it.

It wants to be started by `unshare --net --mount`, see `alone`: it makes a service at the other end of a cable, a name
server, and a configuration of the resolver, all of which end with it.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

from flowpi.audio.utterance import Utterance
from flowpi.backends.flow import FlowBackend
from flowpi.backends.patience import Patience
from flowpi.backends.result import Timings
from flowpi.config.backends.flow import FlowSettings
from flowpi.config.schema import Config, DictationSettings
from flowpi.core.errors import BackendError
from flowpi.core.hints import Hints
from tests.backends.fake_backend import Call, FakeBackend, Script
from tests.sound import beginning, echo, noise, spoken
from tests.waiting import PATIENCE_S, until

OURS, THEIRS = "10.9.0.1", "10.9.0.2"
OURS_6, NOBODYS_6 = "fd09::1", "fd09::9"
NAME = "service.example"
SOUND = noise(1.0)
LONG_SOUND = noise(0.1) * 3000
"""10 MB: more than the buffers of both kernels take."""
CLOSED_S = 8.0
"""Longer than a link may be silent."""


def alone(scenario: str) -> dict[str, Any]:
    """Run a scenario in a network of its own. Needs root, or a kernel that lets users make namespaces."""
    command = ["unshare", "--net", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    command += [sys.executable, "-m", "tests.backends.network", scenario]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    outcome: dict[str, Any] = json.loads(done.stdout)
    return outcome


def sh(command: str) -> None:
    subprocess.run(command.split(), check=True, stdin=subprocess.DEVNULL)


class Cable:
    """This end has `OURS` and `OURS_6`, the other one `THEIRS`."""

    def __init__(self) -> None:
        sh("ip link set lo up")
        # Its own network lives as long as this process, which waits for an end of its input that comes with ours.
        self._far = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE)
        with open(f"/proc/{os.getpid()}/ns/net") as here:
            ours = os.fstat(here.fileno()).st_ino
        while os.stat(f"/proc/{self._far.pid}/ns/net").st_ino == ours:
            os.sched_yield()
        sh(f"ip link add name cable0 type veth peer name cable1 netns {self._far.pid}")
        for address in (f"{OURS}/24 dev cable0", f"{OURS_6}/64 dev cable0 nodad"):
            sh(f"ip address add {address}")
        sh("ip link set cable0 up")
        self.there(f"ip address add {THEIRS}/24 dev cable1")
        self.there("ip link set cable1 up")

    def far(self, *command: str) -> list[str]:
        """The command that runs another one at the other end."""
        return ["nsenter", f"--net=/proc/{self._far.pid}/ns/net", *command]

    def there(self, command: str) -> None:
        subprocess.run(self.far(*command.split()), check=True, stdin=subprocess.DEVNULL)

    def cut(self) -> None:
        """Silently: the other end answers nothing any more, not even that it does not."""
        self.there(f"ip route add blackhole {OURS}/32")

    @contextlib.asynccontextmanager
    async def service(self, scenario: str = "serve") -> AsyncIterator[str]:
        """A backend at the other end; gives its port."""
        command = self.far(sys.executable, "-m", "tests.backends.network", scenario)
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        try:
            assert process.stdout
            yield (await process.stdout.readline()).decode().strip()
        finally:
            process.kill()
            await process.wait()


class Names(asyncio.DatagramProtocol):
    """A name server (RFC 1035) on 127.0.0.1 that knows one thing of all names: `records`, by type."""

    A, AAAA = 1, 28
    NXDOMAIN, SERVFAIL = 3, 2

    def __init__(self, records: dict[int, bytes] | None = None, code: int = 0, mute: bool = False) -> None:
        self._records = records or {}
        self._code = code
        self._mute = mute
        self.asked = 0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, peer: Any) -> None:
        self.asked += 1
        if self._mute:
            return
        end = data.index(b"\0", 12) + 5
        record = self._records.get(int.from_bytes(data[end - 4 : end - 2], "big"))
        answer = b""
        if record:
            answer = b"\xc0\x0c" + data[end - 4 : end] + bytes(4) + len(record).to_bytes(2, "big") + record
        flags = (0x8180 | self._code).to_bytes(2, "big")
        counts = b"\0\1" + (b"\0\1" if record else b"\0\0") + bytes(4)
        self._transport.sendto(data[:2] + flags + counts + data[12:end] + answer, peer)

    async def serve(self) -> None:
        """On port 53; the resolver of this process is told to ask there."""
        sh("ip link set lo up")
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 53))
        with tempfile.NamedTemporaryFile("w", prefix="flowpi-resolv-") as file:
            file.write("nameserver 127.0.0.1\n")
            file.flush()
            sh(f"mount --bind {file.name} /etc/resolv.conf")


async def attempt(
    url: str, utterance: Utterance, patience: Patience | None = None, during: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """What a delivery to `url` ends with; `ticks`: how often the loop could do something else meanwhile."""
    backend = FlowBackend("house", FlowSettings(url), Hints(), patience or Patience())
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    began = asyncio.get_running_loop().time()
    try:
        text = await backend.transcribe(utterance, lambda partial: during(), Timings())
        outcome: dict[str, Any] = {"text": text.text}
    except BackendError as error:
        outcome = {"error": type(error).__name__, "message": str(error)}
    took_s = asyncio.get_running_loop().time() - began
    ticking.cancel()
    await backend.close()
    return outcome | {"ticks": ticks, "took_s": took_s}


async def no_such_name() -> dict[str, Any]:
    await Names(code=Names.NXDOMAIN).serve()
    return await attempt(f"ws://{NAME}:1/ws", spoken(SOUND))


async def name_server_fails() -> dict[str, Any]:
    await Names(code=Names.SERVFAIL).serve()
    return await attempt(f"ws://{NAME}:1/ws", spoken(SOUND))


async def name_server_is_mute() -> dict[str, Any]:
    names = Names(mute=True)
    await names.serve()
    return await attempt(f"ws://{NAME}:1/ws", spoken(SOUND), Patience(connect_s=1)) | {"asked": names.asked}


async def wrong_address() -> dict[str, Any]:
    Cable()
    await Names({Names.A: bytes(map(int, THEIRS.split(".")))}).serve()
    return await attempt(f"ws://{NAME}:1/ws", spoken(SOUND))


async def no_route() -> dict[str, Any]:
    return await attempt(f"ws://{THEIRS}:1/ws", spoken(SOUND))


async def version_6_leads_nowhere() -> dict[str, Any]:
    """The name has two addresses, and the first one swallows all that is sent to it."""
    cable = Cable()
    nobody = bytes.fromhex("fd090000000000000000000000000009")
    await Names({Names.A: bytes(map(int, THEIRS.split("."))), Names.AAAA: nobody}).serve()
    async with cable.service() as port:
        return await attempt(f"ws://{NAME}:{port}/ws", spoken(SOUND))


async def dead_while_speaking() -> dict[str, Any]:
    cable = Cable()
    utterance = beginning()
    utterance.append(SOUND)

    async def speak() -> None:
        while True:
            await asyncio.sleep(0.1)
            utterance.append(SOUND[:3200])

    async with cable.service() as port:
        speaking = asyncio.create_task(speak())
        cut_at: list[float] = []

        def cut() -> None:
            if not cut_at:
                cable.cut()
                cut_at.append(asyncio.get_running_loop().time())

        outcome = await attempt(f"ws://{THEIRS}:{port}/ws", utterance, during=cut)
        speaking.cancel()
        return outcome | {"noticed_s": asyncio.get_running_loop().time() - cut_at[0]}


async def dead_while_waiting() -> dict[str, Any]:
    """All is sent and acknowledged; the text is awaited."""
    cable = Cable()
    utterance = beginning()
    utterance.append(SOUND + SOUND)
    async with cable.service() as port:
        cut_at: list[float] = []

        def heard() -> None:
            if utterance.complete:
                cable.cut()
                cut_at.append(asyncio.get_running_loop().time())
            else:
                utterance.finish(0.0)

        outcome = await attempt(f"ws://{THEIRS}:{port}/ws", utterance, during=heard)
        return outcome | {"noticed_s": asyncio.get_running_loop().time() - cut_at[0]}


def connections_to(port: str | int) -> list[list[str]]:
    """The rows of proc(5)'s `net/tcp`, column by column."""
    rows = [row.split() for row in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
    return [row for row in rows if row[2].endswith(f":{int(port):04X}")]


def window_is_closed(port: str | int) -> bool:
    """Whether the server on a port has no room for more: the kernel probes whether it has again (timer 4)."""
    return any(row[5].startswith("04:") for row in connections_to(port))


def queued_bytes(port: str | int) -> int:
    """How much the kernel has of what was sent to a port, and the other end has not acknowledged."""
    return sum(int(row[4].partition(":")[0], 16) for row in connections_to(port))


async def reader_stops_for_a_while() -> dict[str, Any]:
    cable = Cable()
    async with cable.service("serve_late") as port:
        delivering = asyncio.create_task(attempt(f"ws://{THEIRS}:{port}/ws", spoken(LONG_SOUND)))
        await until(lambda: window_is_closed(port))
        return await delivering


async def dead_while_the_reader_stops() -> dict[str, Any]:
    cable = Cable()
    async with cable.service("serve_never") as port:
        delivering = asyncio.create_task(attempt(f"ws://{THEIRS}:{port}/ws", spoken(LONG_SOUND)))
        await until(lambda: window_is_closed(port))
        cable.cut()
        cut_at = asyncio.get_running_loop().time()
        outcome = await delivering
        return outcome | {"noticed_s": asyncio.get_running_loop().time() - cut_at}


def retry_once() -> None:
    """The kernel of this network gives a connection up after the first repetition that is not acknowledged."""
    Path("/proc/sys/net/ipv4/tcp_retries2").write_text("1")


async def kernel_gives_up_first() -> dict[str, Any]:
    retry_once()
    return await dead_while_waiting()


async def examined(url: str) -> dict[str, Any]:
    from flowpi.doctor.backends import examine_backends

    config = Config(dictation=DictationSettings(backends=("b0",)), backends={"b0": FlowSettings(url)})
    (finding,) = await examine_backends(config)
    return {"code": finding.code, "level": finding.level, "message": finding.message}


async def doctor_no_such_name() -> dict[str, Any]:
    await Names(code=Names.NXDOMAIN).serve()
    return await examined(f"wss://{NAME}/ws")


async def doctor_mute_names() -> dict[str, Any]:
    await Names(mute=True).serve()
    return await examined(f"wss://{NAME}/ws")


async def doctor_no_route() -> dict[str, Any]:
    return await examined(f"ws://{THEIRS}:1/ws")


async def serve() -> None:
    """A backend that says a partial text when it hears something, and one after the commit, and the text never."""

    async def listens(call: Call) -> None:
        await call.authenticate()
        await call.hear(1)
        await call.say("it was")
        await call.hear()
        await call.say("it was the")
        if call.pcm == SOUND:
            await call.say("It was the best of times.", final=True)
        await call.socket.wait_closed()

    async with FakeBackend([listens], host=THEIRS) as service:
        print(service.port, flush=True)
        await until_killed()


def reads_late(stops_s: float) -> Script:
    """It reads no more for so long once it has heard something."""

    async def script(call: Call) -> None:
        await call.authenticate()
        await call.hear(1)
        call.socket.transport.pause_reading()
        await asyncio.sleep(stops_s)
        call.socket.transport.resume_reading()
        await call.hear()
        await call.say(echo(call.pcm), final=True)
        await call.socket.wait_closed()

    return script


async def serve_late() -> None:
    async with FakeBackend([reads_late(CLOSED_S)], host=THEIRS) as service:
        print(service.port, flush=True)
        await until_killed()


async def serve_never() -> None:
    async with FakeBackend([reads_late(3600)], host=THEIRS) as service:
        print(service.port, flush=True)
        await until_killed()


async def until_killed() -> None:
    await asyncio.get_running_loop().create_future()


SCENARIOS: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
    function.__name__: function
    for function in (
        no_such_name,
        name_server_fails,
        name_server_is_mute,
        wrong_address,
        no_route,
        version_6_leads_nowhere,
        dead_while_speaking,
        dead_while_waiting,
        dead_while_the_reader_stops,
        reader_stops_for_a_while,
        kernel_gives_up_first,
        doctor_no_such_name,
        doctor_mute_names,
        doctor_no_route,
        serve,
        serve_late,
        serve_never,
    )
}

if __name__ == "__main__":
    outcome = asyncio.run(SCENARIOS[sys.argv[1]]())
    print(json.dumps(outcome), flush=True)
    os._exit(0)  # a resolver that hangs in a thread is not waited for
