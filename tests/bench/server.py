"""The delay of the text after the commit, compared with one bare decode of the same audio in the same run.

    python -m tests.bench.server

Audio is sent as the daemon sends it: one append per second in real time, and the rest with the commit.
"""

import asyncio
import statistics
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import websockets

from flowpi.dsp.format import FRAME_BYTES, RATE_HZ
from flowpi.server.app import Server
from flowpi.server.model_files import model_directory
from flowpi.server.moonshine import Model, MoonshineEngine
from flowpi.wire.flow import FlowClient
from flowpi.wire.roles import FinalText, SessionReady
from tests.speech import two_cities

SECOND = RATE_HZ * FRAME_BYTES

UTTERANCES = {
    "3 s, one sentence": (20.9, 24.2, 5),
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
    """The median of five decodes of all of the audio by the model alone."""
    final_ms: float
    """The median from sending the commit to receiving the final, in one process."""
    final_max_ms: float
    ratio: float
    """The ratio of final_ms to bare_decode_ms."""


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


def bare_decode_s(model: Model, pcm: bytes) -> float:
    def once() -> float:
        began_s = time.perf_counter()
        model.transcribe(pcm)
        return time.perf_counter() - began_s

    return statistics.median(once() for _ in range(5))


async def _measure(names: Iterable[str]) -> dict[str, Result]:
    model = Model(model_directory())
    results = {}
    async with Server(["127.0.0.1:0"], MoonshineEngine(model)) as server:
        for name in names:
            start_s, end_s, times = UTTERANCES[name]
            pcm = two_cities().part(start_s, end_s)
            bare_ms = 1000 * bare_decode_s(model, pcm)
            finals_ms = [1000 * (await dictate(server.urls[0], pcm))[0] for _ in range(times)]
            median_ms = statistics.median(finals_ms)
            results[name] = Result(end_s - start_s, bare_ms, median_ms, max(finals_ms), median_ms / bare_ms)
    return results


def measure(names: Iterable[str] = tuple(UTTERANCES)) -> dict[str, dict[str, float]]:
    """Return the fields of `Result` by utterance. All utterances together need about three minutes."""
    return {name: asdict(result) for name, result in asyncio.run(_measure(names)).items()}


def main() -> None:
    print(f"{'utterance':36}{'bare decode':>12}{'final':>9}{'max':>9}{'ratio':>7}")
    for name, r in measure().items():
        print(
            f"{name:36}{r['bare_decode_ms']:9.0f} ms{r['final_ms']:6.0f} ms{r['final_max_ms']:6.0f} ms{r['ratio']:7.2f}"
        )


if __name__ == "__main__":
    main()
