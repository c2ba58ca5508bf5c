"""A delivery with a real spool and real transcripts, put together as the daemon does it, one run after the other."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from flowpi.audio.utterance import PartId, Utterance
from flowpi.backends.backend import Backend
from flowpi.backends.chain import BackendChain
from flowpi.backends.result import Timings
from flowpi.core.errors import SpoolError
from flowpi.delivery.delivery import Delivery
from flowpi.publish.files import Transcripts
from flowpi.publish.messages import Final, rfc3339
from flowpi.spool.spool import Spool
from flowpi.wire.roles import FinalText, PartialText
from tests.reliability.one_thread import AtOnce, OneThreadLoop

NOW = 1_700_000_000.0


class ApplianceHarness:
    """The appliance without microphone and panel. `said`: what was sent to the socket, over all runs."""

    def __init__(self, directory: Path) -> None:
        self.spool_directory = directory / "spool"
        self.transcripts_directory = directory / "transcripts"
        self.said: list[tuple[PartId, str]] = []
        self.told: list[tuple[str, PartId]] = []
        self.first_packet_at: dict[PartId, float] = {}
        self.publish_fails = False
        self._transcripts = Transcripts(self.transcripts_directory, 30)

    async def open(self, delivery: Callable[[Spool], Delivery]) -> tuple[Delivery, Spool]:
        """Begin a new run. It deletes what an earlier one published and had no time to delete."""
        at_once = isinstance(asyncio.get_running_loop(), OneThreadLoop)
        spool = Spool(self.spool_directory, sync_s=0.1, executor=AtOnce() if at_once else None)
        found = spool.open()
        self._transcripts = Transcripts(self.transcripts_directory, 30)
        self._transcripts.open()
        done = self._transcripts.ids()
        for part in found:
            if part in done:
                await spool.remove(part)
        begun = delivery(spool)
        begun.start([part for part in found if part not in done])
        return begun, spool

    @asynccontextmanager
    async def life(
        self,
        *backends: Backend,
        retry_s: Callable[[int], float] | None = None,
        pace_s: float = 0.0,
    ) -> AsyncIterator[Delivery]:
        def make(spool: Spool) -> Delivery:
            if retry_s is None:
                return Delivery(BackendChain(backends), spool, self, pace_s=pace_s)
            chain = BackendChain(backends, max_failures=1_000_000, probe_s=retry_s)
            return Delivery(chain, spool, self, retry_s=retry_s, pace_s=pace_s)

        delivery, spool = await self.open(make)
        try:
            yield delivery
        finally:
            await delivery.close()
            self.close(spool)

    def close(self, spool: Spool) -> None:
        spool.close()
        self._transcripts.close()

    def lines(self) -> list[tuple[PartId, str]]:
        """Return the texts in the files, in their order."""
        finals = [
            json.loads(line)
            for path in sorted(self.transcripts_directory.glob("*.jsonl"))
            for line in path.read_text().splitlines()
        ]
        return [(PartId(final["id"], final["part"]), final["text"]) for final in finals]

    def files(self) -> list[PartId]:
        """Return the parts in the spool."""
        parts = [PartId.parse(path.stem) for path in self.spool_directory.glob("*.utt")]
        return sorted(part for part in parts if part is not None)

    # The audience.

    def partial(self, utterance: Utterance, text: PartialText, backend: str) -> None: ...

    async def publish(self, utterance: Utterance, text: FinalText, backend: str, timings: Timings, late: bool) -> None:
        about = utterance.about
        self.said.append((utterance.part_id, text.text))
        if timings.first_packet_at is not None:
            self.first_packet_at[utterance.part_id] = timings.first_packet_at
        started_at = rfc3339(about.started_at)
        final = Final(
            about.id, about.part, text.text, text.language, backend, started_at, utterance.duration_s, None, late
        )
        if self.publish_fails:
            raise SpoolError("the disk is full")
        await self._transcripts.append(final, NOW)

    def delivered(self, utterance: Utterance) -> None:
        self.told.append(("delivered", utterance.part_id))

    def deferred(self, utterance: Utterance, reason: str, *, without_network: bool) -> None:
        self.told.append(("deferred", utterance.part_id))

    def deferred_again(self, part: PartId, reason: str, *, without_network: bool) -> None: ...

    def parked(self, part: PartId, reason: str) -> None:
        self.told.append(("parked", part))

    def backlog_changed(self) -> None: ...

    def refusals_changed(self, refusals: list[str]) -> None: ...

    def spool_failed(self, error: SpoolError) -> None: ...

    def spool_works(self) -> None: ...

    def texts_work(self) -> None: ...

    def lost(self, part: PartId, reason: str) -> None:
        self.told.append(("lost", part))


async def speak(delivery: Delivery, utterance: Utterance, pcm: bytes) -> None:
    """Speak all of an utterance at once."""
    delivery.begin(utterance)
    utterance.append(pcm)
    utterance.finish(asyncio.get_running_loop().time())
