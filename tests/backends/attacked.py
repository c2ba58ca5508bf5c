"""A client under attack, in a process of its own, so that its memory is nobody else's.

    python -m tests.backends.attacked PORT < CASES      a `Case` a line; prints an `Ordeal` a line

Delivers one utterance to each path of the hostile server: `ALONE` times one after the other, then with several attempts
under way; then once with that as the first backend and a good one as the second, as the daemon would.
"""

import asyncio
import re
import statistics
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from flowpi.backends.backend import Backend
from flowpi.backends.chain import BackendChain
from flowpi.backends.flow import FlowBackend
from flowpi.backends.patience import Patience
from flowpi.backends.result import Timings
from flowpi.backends.suki import SukiBackend
from flowpi.config.backends.flow import FlowSettings
from flowpi.config.backends.suki import SukiSettings
from flowpi.config.secret import Secret
from flowpi.core.errors import BackendError
from flowpi.core.hints import Hints
from tests.backends.fake_backend import FakeBackend
from tests.sound import noise, spoken

ALONE, AT_ONCE = 3, 4
"""More than a daemon has under way: one attempt, and the goodbyes of others."""
PATIENCE = Patience(connect_s=0.1, auth_s=0.1, send_s=0.1, final_s=0.1, close_s=0.1)
UTTERANCE = spoken(noise(0.1))
Dialect = Literal["msgpack", "json", "suki"]
"""The first two are Flow's encodings."""
TICK_S = 0.001


class Case(Struct, frozen=True):
    """`times`: how many attempts; `AT_ONCE` of them under way, but for the first `ALONE`."""

    path: str
    dialect: Dialect
    times: int


class Ordeal(Struct, frozen=True):
    """What one path did. `ends`: how the attempts ended, by class and message, and how often.

    `longest_s`: of one attempt and its close. `blocked_ms`: the most CPU time that the loop gave to anything before it
    came back to another task, with one attempt under way; the median of these. `grown_mb`: how far the resident memory
    rose at its highest. `text`: of the good backend.
    """

    case: Case
    ends: dict[str, int]
    longest_s: float
    blocked_ms: float
    grown_mb: float
    text: str


def memory_mb(field: str) -> float:
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 1024


def forget_peak() -> None:
    """`VmHWM` begins anew (proc(5))."""
    Path("/proc/self/clear_refs").write_text("5")


class Loop:
    """Measures the longest stretch of CPU time between two turns of a task of its own."""

    def __init__(self) -> None:
        self.blocked_s = 0.0

    async def watch(self) -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(TICK_S)
            self.blocked_s = max(self.blocked_s, time.thread_time() - before)


def backend_at(url: str, dialect: Dialect, patience: Patience = PATIENCE) -> Backend:
    name = urlsplit(url).path
    if dialect == "suki":
        backend = SukiSettings(partner_id="p", partner_token=Secret("literal", "partner-token"), url=url)
        return SukiBackend(name, backend, patience)
    return FlowBackend(name, FlowSettings(url.replace("http", "ws"), encoding=dialect), Hints(), patience)


async def attempt(url: str, dialect: Dialect) -> tuple[str, float]:
    """How it ended, and after how long. Anything that is no `BackendError` is raised."""
    backend, began = backend_at(url, dialect), time.monotonic()
    try:
        text = await backend.transcribe(UTTERANCE, lambda partial: None, Timings())
        end = f"text: {text.text[:40]}"
    except BackendError as error:
        end = re.sub(r"[\d.]+ s$", "N s", f"{type(error).__name__}: {error}")
    await backend.close()
    return end, time.monotonic() - began


async def suffer(port: str, case: Case, good: str) -> Ordeal:
    """`good`: the URL of a backend that works."""
    url = f"http://127.0.0.1:{port}{case.path}"
    forget_peak()
    before_mb = memory_mb("VmRSS")
    ends, blocks_s = [], []
    for _ in range(ALONE):
        loop = Loop()
        watching = asyncio.create_task(loop.watch())
        ends.append(await attempt(url, case.dialect))
        watching.cancel()
        blocks_s.append(loop.blocked_s)
    places = asyncio.Semaphore(AT_ONCE)

    async def attempt_in_place() -> tuple[str, float]:
        async with places:
            return await attempt(url, case.dialect)

    ends += await asyncio.gather(*(attempt_in_place() for _ in range(case.times - ALONE)))
    backends = BackendChain([backend_at(url, case.dialect), backend_at(good, "msgpack", Patience())])
    text, _, _ = await backends.text_of(UTTERANCE, lambda partial, name: None)
    await backends.close()
    return Ordeal(
        case=case,
        ends=dict(Counter(end for end, _ in ends)),
        longest_s=max(lasted_s for _, lasted_s in ends),
        blocked_ms=1000 * statistics.median(blocks_s),
        grown_mb=memory_mb("VmHWM") - before_mb,
        text=text.text,
    )


async def main(port: str) -> None:
    cases = [msgspec.json.decode(line, type=Case) for line in sys.stdin]
    async with FakeBackend() as good:
        for dialect in get_args(Dialect):
            await attempt(f"http://127.0.0.1:{port}/upgraded/reset", dialect)  # all is imported
        for case in cases:
            print(msgspec.json.encode(await suffer(port, case, good.url)).decode(), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
