"""SIGKILL before each of the first calls that change the disk, and at any moment: what was acknowledged is there."""

import asyncio
import random
import re
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flowpi.audio.utterance import About, Utterance
from flowpi.core.ulid import UlidFactory
from flowpi.spool.spool import Spool
from tests.reliability.lives import SPEECH_S, Lives
from tests.rig.fatal import killed_at
from tests.rig.microphone import Microphone

CALLS = 60
CHAIN = 60
"""The number of runs on one directory before the check that everything is there."""

BACKLOG = 1000
READY_S = 2.0
STARTS = 10

Make = Callable[..., Lives]


@pytest.fixture
def make(tmp_path: Path, microphone: Microphone) -> Iterator[Make]:
    made: list[Lives] = []

    def make(**options: object) -> Lives:
        made.append(Lives(tmp_path / str(len(made)), **options))  # type: ignore[arg-type]
        made[-1].serve()
        return made[-1]

    yield make
    for lives in made:
        lives.close()


def spread(count: int, most: int, chance: random.Random) -> list[int]:
    """Return `count` numbers from 1 to `most`, each as often as the others, in random order."""
    numbers = [1 + (n * most // count if count < most else n % most) for n in range(count)]
    chance.shuffle(numbers)
    return numbers


def chains(numbers: list[int]) -> Iterator[list[int]]:
    for at in range(0, len(numbers), CHAIN):
        yield numbers[at : at + CHAIN]


@pytest.mark.promise("P2")
def test_killed_at_each_call_nothing_acknowledged_is_lost_or_said_twice(
    make: Make, times: Callable[[int, int], int], measured: Callable[..., None]
) -> None:
    acknowledged = 0
    before: set[str] = set()
    numbers = spread(times(6, 10 * CALLS), CALLS, random.Random(0))
    for chain in chains(numbers):
        lives = make()
        for number in chain:
            daemon = lives.spawn(killed_at(number, lives.appliance.directory))
            lives.speak_until_death(daemon)
            assert daemon.process.returncode == -signal.SIGKILL, daemon.log.read_text()
        verdict = lives.last_words()
        assert verdict.good, verdict
        assert lives.in_quarantine() == []
        acknowledged += verdict.acknowledged
        deaths = re.findall(r"^fatal: killed before (.+)$", daemon.log.read_text(), re.MULTILINE)
        assert len(deaths) == len(chain)
        before.update(death.split()[0] for death in deaths)
    assert acknowledged
    assert len(before) > 1
    measured(
        kills=len(numbers), calls=CALLS, before=" ".join(sorted(before)), acknowledged=acknowledged, lost=0, twice=0
    )


@pytest.mark.promise("P2")
def test_killed_at_any_moment_nothing_acknowledged_is_lost_or_said_twice(
    make: Make, times: Callable[[int, int], int], measured: Callable[..., None]
) -> None:
    acknowledged = 0
    chance = random.Random(0)
    numbers = list(range(times(6, 400)))
    for chain in chains(numbers):
        lives = make()
        for number in chain:
            daemon = lives.start() if number % 2 else lives.spawn()  # a kill during the start counts, too
            # On a busy machine a start alone takes longer than all of a life on an idle one.
            longest_s = max([0.8, *(3 * start_s for start_s in lives.starts_s)])
            death = threading.Timer(chance.uniform(0.0, longest_s), daemon.process.kill)
            death.start()
            lives.speak_until_death(daemon)
            death.join()
            assert daemon.process.returncode == -signal.SIGKILL, daemon.log.read_text()
        verdict = lives.last_words()
        assert verdict.good, verdict
        assert lives.in_quarantine() == []
        acknowledged += verdict.acknowledged
    assert acknowledged
    measured(kills=len(numbers), acknowledged=acknowledged, lost=0, twice=0)


@pytest.mark.promise("P2")
def test_a_daemon_that_deletes_before_it_writes_is_found_out(make: Make, measured: Callable[..., None]) -> None:
    """The negative control: a test that never fails proves nothing."""
    lives = make(program=("-m", "tests.reliability.careless"))
    daemon = lives.start()
    lives.speaker.connect()
    lives.speaker.dictate(SPEECH_S)
    lives.deliver()
    daemon.end(signal.SIGKILL)
    verdict = lives.last_words()
    assert len(verdict.lost) == 1
    measured(careless_daemon="condemned", kills=1, lost=1)


@pytest.mark.promise("P2")
async def test_a_thousand_utterances_in_the_spool_hold_up_no_start(make: Make, measured: Callable[..., None]) -> None:
    lives = make()
    for _ in range(2):
        lives.start().end(signal.SIGKILL)
    empty_s = min(lives.starts_s)
    lives.starts_s.clear()
    ids = UlidFactory()
    spool = Spool(lives.appliance.spool)
    spool.open()
    await asyncio.gather(
        *(
            spool.keep(Utterance(About(ids.make(n, bytes(10)), 0.0), pcm=bytes(3200), complete=True))
            for n in range(BACKLOG)
        )
    )
    spool.close()
    assert len(lives.appliance.spooled()) == BACKLOG
    allowed_s = max(READY_S, 2 * empty_s)
    for _ in range(STARTS):
        lives.start().end(signal.SIGKILL)
        if (full_s := min(lives.starts_s)) < allowed_s:
            break  # the slower ones were so because the machine is busy with something else
    assert full_s < allowed_s
    measured(backlog=BACKLOG, ready_after_s=round(full_s, 2), with_no_backlog_s=round(empty_s, 2))
