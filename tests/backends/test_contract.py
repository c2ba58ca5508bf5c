"""The contract of backends: whatever a service does, an attempt ends in its text or in an error that says what to do.

`SERVICES` has a service with levers for each row of `KINDS`. What is special about a kind is tested beside its client.
"""

import asyncio
import contextlib
import os
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path

import pytest

from flowpi.audio.utterance import Utterance
from flowpi.backends.backend import Backend, Environment
from flowpi.backends.patience import Patience
from flowpi.backends.result import Timings
from flowpi.config.backends import KINDS
from flowpi.config.secret import Secret
from flowpi.core.errors import BackendError, ClosedError, HttpError, LinkError, NotReached, ProtocolError
from flowpi.core.failover import Verdict, concerns_key, verdict
from flowpi.wire.roles import FinalText
from tests.backends.fake_backend import FlowLevers
from tests.backends.levers import SLOW_S, Levers, Mood
from tests.backends.suki_service import SukiLevers
from tests.sound import beginning, noise, spoken
from tests.waiting import until

SERVICES: dict[str, Callable[[int, str], Levers]] = {"flow": FlowLevers, "suki": SukiLevers}
"""Made with a port and the key. A new row of `KINDS` adds one here."""

SOUND = noise(2.345)
PATIENCE = Patience(connect_s=3.0, auth_s=3.0, send_s=3.0, final_s=3.0, close_s=0.5)
"""A busy machine may take more than a second for a dictation that works."""
MOST_S = 30.0
"""No attempt with this patience lasts longer, on a busy machine too."""

OURS = str(Path("flowpi", "backends"))


def test_each_row_is_held_to_the_contract() -> None:
    assert SERVICES.keys() == KINDS.keys()


class Bench:
    """One backend and its service, whose key is in a file."""

    def __init__(self, kind: str, port: int, key: Path) -> None:
        self.service = SERVICES[kind](port, "canary-key-1")
        self.key = key
        self.key.write_text(self.service.key)
        settings = self.service.settings(Secret("file", str(key)))
        client = import_module(KINDS[kind].client)
        self.backend: Backend = client.make("house", settings, Environment(patience=PATIENCE))
        self.partials: list[str] = []
        self.timings = Timings()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Levers]:
        """The service runs. Afterwards nothing of the backend is left: no task, and no socket."""
        tasks, sockets = asyncio.all_tasks(), open_sockets()
        async with self.service:
            listening = open_sockets()
            try:
                yield self.service
            finally:
                async with asyncio.timeout(MOST_S):
                    await self.backend.close()
                assert not [task for task in asyncio.all_tasks() - tasks if is_ours(task)]
                await until(lambda: open_sockets() <= listening)  # without the service's ending them
        await until(lambda: asyncio.all_tasks() <= tasks and open_sockets() <= sockets)

    async def dictate(self, utterance: Utterance | None = None) -> FinalText:
        self.partials.clear()
        self.timings = Timings()
        async with asyncio.timeout(MOST_S):
            return await self.backend.transcribe(
                utterance or spoken(SOUND), lambda partial: self.partials.append(partial.text), self.timings
            )

    def change_key(self, key: str) -> None:
        """The service and the user agree on another key."""
        self.service.key = key
        self.key.write_text(key)

    async def probe(self) -> None:
        async with asyncio.timeout(MOST_S):
            await self.backend.probe()

    async def fails(self) -> BackendError:
        """Return the error that an attempt ends with, which never shows the key."""
        with pytest.raises(BackendError) as caught:
            await self.dictate()
        assert "canary" not in str(caught.value) + repr(vars(caught.value))
        return caught.value

    async def works(self) -> None:
        """The text comes, from the first sample to the last."""
        assert (await self.dictate()).text == self.service.text(SOUND)
        heard = self.service.heard[-1]
        assert heard.startswith(SOUND)
        assert not heard[len(SOUND) :].strip(b"\0")  # its last packet may be padded


def open_sockets() -> int:
    """Return how many sockets this process has."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the directory that was just listed
            count += stat.S_ISSOCK(os.fstat(int(name)).st_mode)
    return count


def is_ours(task: "asyncio.Task[object]") -> bool:
    return OURS in str(getattr(task.get_coro(), "cr_code", ""))


@pytest.fixture(params=sorted(SERVICES))
def bench(request: pytest.FixtureRequest, tmp_path: Path, unused_tcp_port: int) -> Bench:
    return Bench(request.param, unused_tcp_port, tmp_path / "key")


class TestWorks:
    async def test_the_text_and_when_it_came(self, bench: Bench) -> None:
        began = asyncio.get_running_loop().time()
        async with bench.running():
            bench.backend.start()
            await bench.works()
            timings = bench.timings
        assert timings.first_packet_at is not None
        assert timings.committed_at is not None
        assert timings.final_at is not None
        assert began <= timings.first_packet_at <= timings.committed_at <= timings.final_at

    async def test_while_it_is_spoken(self, bench: Bench) -> None:
        utterance = beginning()
        async with bench.running() as service:
            dictating = asyncio.create_task(bench.dictate(utterance))
            for at in range(0, len(SOUND), 10_000):
                utterance.append(SOUND[at : at + 10_000])
                await asyncio.sleep(0)
            await until(lambda: service.heard and len(service.heard[-1]) >= 6400)  # before the end
            utterance.finish(1.0)
            assert (await dictating).text == service.text(SOUND)

    async def test_several_at_once(self, bench: Bench) -> None:
        sounds = [noise(0.5, seed) for seed in range(4)]
        async with bench.running() as service:
            texts = await asyncio.gather(*(bench.dictate(spoken(sound)) for sound in sounds))
        assert [text.text for text in texts] == [service.text(sound) for sound in sounds]

    async def test_a_slow_service(self, bench: Bench) -> None:
        async with bench.running() as service:
            service.mood = Mood.SLOW
            await bench.works()
            assert bench.timings.final_at is not None
            assert bench.timings.committed_at is not None
            assert bench.timings.final_at - bench.timings.committed_at >= SLOW_S
            assert bench.partials[0] == "it was"

    async def test_a_rotated_key(self, bench: Bench) -> None:
        """It counts from the next dictation on, and costs none."""
        async with bench.running():
            await bench.works()
            bench.change_key("canary-key-2")
            await bench.works()

    async def test_a_probe_sends_no_audio(self, bench: Bench) -> None:
        async with bench.running() as service:
            await bench.probe()
            assert service.asked == 1
            await until(lambda: len(service.heard) == 1)
            assert service.heard == [b""]

    async def test_closing_one_that_was_never_asked(self, bench: Bench) -> None:
        async with bench.running():
            bench.backend.start()


class TestFails:
    """After each failure the next attempt of the same backend gives the text, from the first sample on."""

    async def test_nothing_listens(self, bench: Bench) -> None:
        bench.backend.start()
        error = await bench.fails()
        assert isinstance(error, NotReached)
        assert error.message.startswith("backend 'house' is not reached (")
        assert error.refused
        assert verdict(error) is Verdict.RETRY_LATER
        async with bench.running():
            await bench.works()

    async def test_a_silent_service(self, bench: Bench) -> None:
        async with bench.running() as service:
            service.mood = Mood.SILENT
            error = await bench.fails()
            assert isinstance(error, LinkError)
            assert error.message.startswith("the backend did not ")
            assert verdict(error) is Verdict.RETRY_LATER
            service.mood = Mood.WORKS
            await bench.works()

    @pytest.mark.parametrize("mood", [Mood.UNAUTHORIZED, Mood.FORBIDDEN])
    async def test_the_key_is_refused(self, bench: Bench, mood: Mood) -> None:
        async with bench.running() as service:
            service.mood = mood
            error = await bench.fails()
            assert isinstance(error, HttpError)
            assert error.status == int(mood.value)
            assert error.hint == "check the key of backends.house"
            assert (concerns_key(error), error.healed, verdict(error)) == (True, False, Verdict.STOP_AND_TELL)
            assert bench.backend.user_key() == "canary-key-1"
            service.mood = Mood.WORKS
            bench.change_key("canary-key-2")
            assert bench.backend.user_key() == "canary-key-2"
            await bench.works()

    async def test_the_key_is_missing(self, bench: Bench) -> None:
        bench.key.unlink()
        async with bench.running() as service:
            error = await bench.fails()
            assert verdict(error) is Verdict.STOP_AND_TELL
            assert "there is no key for backend 'house'" in error.message
            assert (bench.backend.user_key(), service.asked) == (None, 0)
            bench.key.write_text("canary-key-1")
            await bench.works()

    async def test_the_connection_is_cut(self, bench: Bench) -> None:
        async with bench.running() as service:
            service.mood = Mood.CUT
            error = await bench.fails()
            assert isinstance(error, ClosedError)
            assert (error.code, verdict(error)) == (None, Verdict.RETRY_NOW)
            service.mood = Mood.WORKS
            await bench.works()

    async def test_a_busy_service(self, bench: Bench) -> None:
        async with bench.running() as service:
            service.mood = Mood.BUSY
            error = await bench.fails()
            assert verdict(error) is Verdict.RETRY_LATER
            assert 1 <= service.asked <= 5
            service.mood = Mood.WORKS
            await bench.works()

    async def test_rubbish(self, bench: Bench) -> None:
        async with bench.running() as service:
            service.mood = Mood.RUBBISH
            error = await bench.fails()
            assert isinstance(error, ProtocolError)
            assert verdict(error) is Verdict.OTHER_BACKEND
            service.mood = Mood.WORKS
            await bench.works()

    @pytest.mark.parametrize("mood", [Mood.UNAUTHORIZED, Mood.BUSY])
    async def test_a_probe_ends_as_a_dictation_would(self, bench: Bench, mood: Mood) -> None:
        async with bench.running() as service:
            service.mood = mood
            with pytest.raises(BackendError) as caught:
                await bench.probe()
            expected = Verdict.STOP_AND_TELL if mood is Mood.UNAUTHORIZED else Verdict.RETRY_LATER
            assert verdict(caught.value) is expected


class TestCancelled:
    @pytest.mark.parametrize("mood", [Mood.WORKS, Mood.SILENT, Mood.SLOW, Mood.BUSY])
    async def test_at_many_turns_of_the_loop(self, bench: Bench, mood: Mood) -> None:
        async with bench.running() as service:
            service.mood = mood
            for turns in range(0, 40, 4):
                dictating = asyncio.create_task(bench.dictate())
                for _ in range(turns):
                    await asyncio.sleep(0)
                dictating.cancel()
                (result,) = await asyncio.gather(dictating, return_exceptions=True)
                assert isinstance(result, asyncio.CancelledError | FinalText | BackendError)
            service.mood = Mood.WORKS
            await bench.works()

    async def test_in_the_middle_of_the_audio(self, bench: Bench) -> None:
        utterance = beginning()
        async with bench.running() as service:
            dictating = asyncio.create_task(bench.dictate(utterance))
            utterance.append(SOUND)
            await until(lambda: service.heard and service.heard[-1])
            dictating.cancel()
            await asyncio.gather(dictating, return_exceptions=True)
            assert dictating.cancelled()
            await bench.works()
