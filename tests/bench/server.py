"""The delay of the text after the commit, compared with one bare decode of the same audio in the same run.

    python -m tests.bench.server [NAME...]

Both are done in turn, with each model, so that whatever else the machine does weighs on both alike. Audio is sent as
the daemon sends it: one append per second in real time, and the rest with the commit.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import websockets

from flowpi.dsp.format import FRAME_BYTES, RATE_HZ
from flowpi.server.app import Server
from flowpi.server.moonshine import Model, MoonshineEngine
from flowpi.server.silero import VoiceModel
from flowpi.wire.flow import FlowClient
from flowpi.wire.roles import FinalText, SessionReady
from tests import models
from tests.speech import two_cities

SECOND = RATE_HZ * FRAME_BYTES

UTTERANCES = {
    "3 s, one sentence": (20.9, 24.2, 7),
    "10 s, short pauses": (0.7, 10.7, 3),
    "28 s with pauses": (0.7, 28.6, 3),
    "30 s, the last 13 s in one breath": (12.0, 42.0, 2),
}
"""The start and end in two_cities, each 0.1 to 0.3 s after the last word, and how often it is dictated."""

SHORT = "3 s, one sentence"
PAUSES = "28 s with pauses"


@dataclass(frozen=True)
class Result:
    audio_s: float
    bare_decode_ms: float
    """The median of decodes of all of the audio by the model alone."""
    final_ms: float
    """The median from sending the commit to receiving the final, in one process."""
    final_max_ms: float
    ratio: float
    """The ratio of final_ms to bare_decode_ms."""


@dataclass(frozen=True)
class Spoken:
    results: dict[str, dict[str, Result]]
    """By the name of the model, and by utterance."""
    tiny_cpu_ms: float
    base_cpu_ms: float
    """The CPU time of a decode of `SHORT` by each model, in turn."""


async def dictate(url: str, pcm: bytes) -> tuple[float, str]:
    """Dictate `pcm`, int16 mono 16 kHz, in real time; return the seconds from commit to final, and the text."""
    client = FlowClient()
    loop = asyncio.get_running_loop()
    async with websockets.connect(f"{url}/api/v1/dash/ws", additional_headers=client.headers, compression=None) as link:

        async def flush() -> None:
            for frame in client.data_to_send():
                await link.send(frame)

        client.open()
        await flush()
        assert client.receive(await link.recv()) == [SessionReady()]
        began_s = loop.time()
        whole = len(pcm) // SECOND * SECOND
        for at in range(0, whole, SECOND):
            await asyncio.sleep(began_s + (at + SECOND) / SECOND - loop.time())
            client.append(pcm[at : at + SECOND])
            await flush()
        await asyncio.sleep(began_s + len(pcm) / SECOND - loop.time())
        client.commit(pcm[whole:])
        committed_s = time.perf_counter()
        await flush()
        async for frame in link:
            for event in client.receive(frame):
                if isinstance(event, FinalText):
                    return time.perf_counter() - committed_s, event.text
    raise AssertionError("closed without a final")


def _timed_s(model: Model, pcm: bytes, clock: Callable[[], float]) -> float:
    began_s = clock()
    model.transcribe(pcm)
    return clock() - began_s


async def _measure(model: Model, names: Iterable[str]) -> dict[str, Result]:
    results = {}
    async with Server(["127.0.0.1:0"], MoonshineEngine(model, VoiceModel())) as server:
        for name in names:
            start_s, end_s, times = UTTERANCES[name]
            pcm = two_cities().part(start_s, end_s)
            bare_ms, finals_ms = list[float](), list[float]()
            for _ in range(times):
                finals_ms.append(1000 * (await dictate(server.urls[0], pcm))[0])
                bare_ms.append(1000 * _timed_s(model, pcm, time.perf_counter))
            median_ms, bare_median_ms = statistics.median(finals_ms), statistics.median(bare_ms)
            results[name] = Result(
                end_s - start_s, bare_median_ms, median_ms, max(finals_ms), median_ms / bare_median_ms
            )
    return results


def _cpu_ms(loaded: Sequence[Model]) -> list[float]:
    """Return the CPU time of a decode by each model."""
    start_s, end_s, times = UTTERANCES[SHORT]
    pcm = two_cities().part(start_s, end_s)
    spent_s = [[_timed_s(model, pcm, time.thread_time) for model in loaded] for _ in range(times)]
    return [1000 * statistics.median(one) for one in zip(*spent_s, strict=True)]


def measure(names: Iterable[str] = tuple(UTTERANCES)) -> Spoken:
    """Dictate to both models. All utterances together need six minutes."""
    paths = {"tiny": models.tiny().model, "base": models.base().model}
    loaded = {name: Model(Path(path)) for name, path in paths.items() if path}
    cpu_ms = _cpu_ms(list(loaded.values()))
    return Spoken({name: asyncio.run(_measure(model, names)) for name, model in loaded.items()}, *cpu_ms)


def main() -> None:
    spoken = measure(sys.argv[1:] or UTTERANCES)
    print(f"{'utterance':36}{'bare decode':>12}{'final':>9}{'max':>9}{'ratio':>7}")
    for model, results in spoken.results.items():
        for name, r in results.items():
            print(
                f"{f'{model}, {name}':43}{r.bare_decode_ms:5.0f} ms{r.final_ms:6.0f} ms{r.final_max_ms:6.0f} ms"
                f"{r.ratio:7.2f}"
            )
    print(f"CPU of a decode: tiny {spoken.tiny_cpu_ms:.0f} ms, base {spoken.base_cpu_ms:.0f} ms")


if __name__ == "__main__":
    main()
