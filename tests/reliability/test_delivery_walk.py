"""Promise P3 and more at random: users speak, drop and restart, backends and the disk fail, and nothing is lost."""

import asyncio
import resource
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from flowpi.audio.utterance import About, PartId, Utterance
from flowpi.backends.chain import BackendChain
from flowpi.backends.result import Timings
from flowpi.core.errors import BackendError, ClosedError, HttpError, LinkError, NoText, RefusedError
from flowpi.delivery.delivery import Delivery
from flowpi.spool.spool import Spool
from flowpi.wire.roles import FinalText, PartialText
from tests.reliability.harness import ApplianceHarness
from tests.reliability.one_thread import OneThreadLoop
from tests.sound import echo, noise, ulid
from tests.waiting import ticks

MOODS: dict[str, Callable[[], BackendError] | None] = {
    "works": None,
    "down": lambda: LinkError("no answer in time"),
    "breaks": lambda: ClosedError(None),
    "busy": lambda: HttpError("busy", status=429, retry_after_s=5.0),
    "wants a key": lambda: HttpError("no", status=401),
    "is silent": lambda: NoText("no text"),
    "is picky": lambda: RefusedError("the server refused: not this"),
}


class Moody:
    """A backend in memory that behaves as its mood says. Any answer needs a second."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.mood = "works"

    def start(self) -> None: ...

    async def transcribe(
        self, utterance: Utterance, on_partial: Callable[[PartialText], None], timings: Timings
    ) -> FinalText:
        if self.mood != "is picky":  # it takes the audio before it refuses
            await self.probe()
        timings.audio_at = asyncio.get_running_loop().time()
        await utterance.wait_complete()
        await self.probe()
        return FinalText(echo(utterance.read(0, utterance.length)), "en")

    async def probe(self) -> None:
        await asyncio.sleep(1)
        if make_error := MOODS[self.mood]:
            raise make_error()

    def forgive(self) -> None: ...

    def user_key(self) -> None: ...

    async def close(self) -> None: ...


@contextmanager
def disk(full: bool) -> Iterator[None]:
    """Make the disk full for the length of a block: no file of this process can grow, as the kernel refuses writes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    if full:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class Walk(RuleBasedStateMachine):
    did: ClassVar[Counter[str]] = Counter()
    """How often each thing happened, over all walks: a walk without events proves nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="flowpi-walk-"))
        self.runner = asyncio.Runner(loop_factory=OneThreadLoop)
        self.harness = ApplianceHarness(self.directory)
        self.first, self.second = Moody("first"), Moody("second")
        self.full = False
        self.number = 0
        self.speaking: Utterance | None = None
        self.begun: dict[PartId, Utterance] = {}
        """The utterances that were begun in this run."""
        self.recorded: set[PartId] = set()
        self.dropped: set[PartId] = set()
        self.runner.run(self._open())

    async def _open(self) -> None:
        def make(spool: Spool) -> Delivery:
            return Delivery(BackendChain([self.first, self.second]), spool, self.harness)

        self.delivery, self.spool = await self.harness.open(make)

    async def _close(self) -> None:
        if self.speaking is not None:
            self.speaking.finish(0.0, partial=True)
            self.speaking = None
        await self.delivery.close()
        self.harness.close(self.spool)

    def act(self, *actions: Callable[[], object], seconds: float = 0.0) -> None:
        async def main() -> None:
            for action in actions:
                action()
            await asyncio.sleep(seconds)
            await ticks(40)

        with disk(self.full):
            self.runner.run(main())

    @rule(seconds=st.sampled_from([0.1, 1.0, 10.0]))
    def speak(self, seconds: float) -> None:
        def say() -> None:
            if self.speaking is None:
                self.number += 1
                self.speaking = Utterance(About(ulid(self.number), 1_700_000_000.0))
                self._begin()
            self.speaking.append(noise(0.2, seed=self.number * 10 + self.speaking.about.part))

        self.act(say, seconds=seconds)

    def _begin(self) -> None:
        assert self.speaking is not None
        self.begun[self.speaking.part_id] = self.speaking
        self.delivery.begin(self.speaking)

    @precondition(lambda self: self.speaking is not None)
    @rule()
    def fall_silent(self) -> None:
        def end() -> None:
            assert self.speaking is not None
            self.speaking.finish(0.0)
            self.speaking = None

        self.act(end)

    @precondition(lambda self: self.speaking is not None)
    @rule()
    def go_on_in_a_next_part(self) -> None:
        def go_on() -> None:
            assert self.speaking is not None
            self.speaking.finish(0.0)
            self.speaking = Utterance(About(self.speaking.id, 1_700_000_000.0, self.speaking.about.part + 1))
            self._begin()
            self.speaking.append(noise(0.1, seed=self.number * 10 + self.speaking.about.part))

        self.act(go_on)

    @rule(first=st.sampled_from(list(MOODS)), second=st.sampled_from(list(MOODS)))
    def backends_change(self, first: str, second: str) -> None:
        self.first.mood, self.second.mood = first, second

    @precondition(lambda self: self.speaking is not None)
    @rule(seconds=st.sampled_from([0.0, 1.0, 5.0]))
    def only_one_part_fails(self, seconds: float) -> None:
        self.first.mood = self.second.mood = "down"
        self.go_on_in_a_next_part()
        self.act(seconds=2.5)
        self.first.mood = "works"
        self.fall_silent()
        self.act(seconds=seconds)

    @rule()
    def nobody_takes_it(self) -> None:
        self.first.mood = self.second.mood = "is picky"
        self.act(seconds=600.0)

    @rule(full=st.booleans())
    def disk_changes(self, full: bool) -> None:
        self.full = full

    @rule(seconds=st.sampled_from([0.5, 5.0, 60.0, 600.0]))
    def time_passes(self, seconds: float) -> None:
        self.act(seconds=seconds)

    @rule()
    def restart(self) -> None:
        with disk(self.full):
            self.runner.run(self._close())
            self._note()
            self.begun.clear()  # what the disk has refused to the end is lost with this run
            self.did["restarts"] += 1
            self.runner.run(self._open())

    @rule(chance=st.integers(0, 1000))
    def drop(self, chance: int) -> None:
        waiting = self.delivery.waiting()
        if not waiting:
            return
        part = waiting[chance % len(waiting)].part
        if self.speaking is not None and part == self.speaking.part_id:
            self.speaking.finish(0.0)
            self.speaking = None
        self.dropped.add(part)
        self.did["drops"] += 1
        self.act(lambda: self.delivery.drop(part))

    @rule()
    def owner_retries(self) -> None:
        self.act(self.delivery.retry)

    def _note(self) -> None:
        for part, utterance in self.begun.items():
            durable = utterance.durable
            if durable is not None and durable.done() and not durable.cancelled() and durable.result():
                self.recorded.add(part)

    @invariant()
    def nothing_is_nowhere(self) -> None:
        self._note()
        lines = Counter(part for part, _ in self.harness.lines())
        files = set(self.harness.files())
        waiting = {one.part: one for one in self.delivery.waiting()}
        assert all(times == 1 for times in lines.values()), lines
        for part in self.recorded - self.dropped - set(lines):
            assert part in files, part
            assert part in waiting, part
        for part in set(self.begun) - self.dropped - set(lines):
            assert part in waiting, part
        assert all(one.reason for one in waiting.values())
        for part, text in self.harness.lines():
            if part in self.begun and part not in self.dropped:
                utterance = self.begun[part]
                assert text == echo(utterance.read(0, utterance.length))

    def teardown(self) -> None:
        """Make everything work again, and check that all that was recorded is published, its parts in order."""
        try:
            self.full = False
            self.first.mood = self.second.mood = "works"
            if self.speaking is not None:
                self.fall_silent()
            self.act(self.delivery.retry, seconds=3.0)
            self.act(self.delivery.retry, seconds=200.0 + 3 * len(self.delivery.waiting()))
            self.nothing_is_nowhere()
            assert not self.delivery.waiting()
            assert not self.harness.files()
            published = [part for part, _ in self.harness.lines()]
            assert self.recorded - self.dropped <= set(published)
            self.did["published"] += len(published)
            self.did["parked"] += sum(told == "parked" for told, _ in self.harness.told)
            self.did["deferred"] += sum(told == "deferred" for told, _ in self.harness.told)
            parked = {part.utterance for told, part in self.harness.told if told == "parked"}
            for number in range(1, self.number + 1):
                mine = [part for part in published if part.utterance == ulid(number)]
                assert mine == sorted(mine) or ulid(number) in parked
                self.did["in more than one part"] += len(mine) > 1
        finally:
            self.runner.run(self._close())
            self.runner.close()
            shutil.rmtree(self.directory)


@pytest.mark.promise("P3")
def test_whatever_happens_no_recorded_utterance_is_nowhere(
    times: Callable[[int, int], int], measured: Callable[..., None]
) -> None:
    examples = times(12, 600)
    Walk.did = Counter()
    run_state_machine_as_test(
        Walk,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
    of_many = ["parked", "drops", "restarts", "in more than one part"] if examples > 100 else []
    for what in ("published", "deferred", *of_many):
        assert Walk.did[what], what
    measured(walks=examples, steps=40, nowhere=0, published_twice_in_the_file=0, **Walk.did)
