import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from flowpi.audio.utterance import About, PartId, Utterance
from flowpi.backends.backend import Backend
from flowpi.backends.chain import BackendChain
from flowpi.backends.flow import FlowBackend
from flowpi.backends.patience import Patience
from flowpi.backends.result import Timings
from flowpi.config.backends.flow import FlowSettings
from flowpi.core.errors import BackendError, LinkError, SpoolError
from flowpi.core.hints import Hints
from flowpi.delivery.delivery import UNEDITED, Delivery
from flowpi.delivery.edits import Editor
from flowpi.spool.spool import Spool
from flowpi.wire.roles import FinalText, PartialText
from tests.backends.fake_backend import (
    Call,
    FakeBackend,
    Script,
    answers_in_text,
    hangs_up,
    hangs_up_after_commit,
    hangs_up_in_the_middle,
    is_mute_after_auth,
    is_mute_after_commit,
    refuses,
    works,
)
from tests.sound import beginning, echo, noise, spoken, ulid
from tests.spool.absent_disk import AbsentDisk
from tests.waiting import PATIENCE_S, ticks, until

SOUND = noise(1.234)


class Audience:
    """Records what it is told. `full`: whether the disk of the transcripts is full."""

    def __init__(self, directory: Path) -> None:
        self.said: list[tuple[str, ...]] = []
        self.partials: list[str] = []
        self.texts: list[FinalText] = []
        self.kept_when_published: list[bool] = []
        self.full = False
        self.publishing: asyncio.Event | None = None
        """If it is an event, publishing waits for it."""
        self.without_network: bool | None = None
        """The argument of the last call of `deferred`."""
        self._directory = directory
        self._news = asyncio.Event()

    async def until(self, wanted: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not wanted():
                self._news.clear()
                await self._news.wait()

    async def hears(self, *what: str) -> None:
        await self.until(lambda: what in self.said)

    def of(self, utterance_id: str) -> list[str]:
        return [words[0] for words in self.said if words[1:2] == (utterance_id,)]

    def _say(self, *words: str) -> None:
        self.said.append(words)
        self._news.set()

    def partial(self, utterance: Utterance, text: PartialText, backend: str) -> None:
        self.partials.append(text.text)

    async def publish(self, utterance: Utterance, text: FinalText, backend: str, timings: Timings, late: bool) -> None:
        if self.publishing is not None:
            self._say("publishing", utterance.id)
            await self.publishing.wait()
        if self.full:
            self._say("not published", utterance.id)
            raise SpoolError("the disk is full")
        self.texts.append(text)
        self.kept_when_published.append((self._directory / f"{utterance.id}.utt").exists())
        self._say("late" if late else "text", utterance.id, backend)

    def delivered(self, utterance: Utterance) -> None:
        self._say("delivered", utterance.id)

    def deferred(self, utterance: Utterance, reason: str, *, without_network: bool) -> None:
        self._say("deferred", utterance.id, reason)
        self.without_network = without_network

    def deferred_again(self, part: PartId, reason: str, *, without_network: bool) -> None:
        self._say("deferred again", part.utterance, reason)
        self.without_network = without_network

    def parked(self, part: PartId, reason: str) -> None:
        self._say("parked", part.utterance, reason)

    def backlog_changed(self) -> None:
        self._say("backlog")

    def refusals_changed(self, refusals: list[str]) -> None:
        self.refusals = refusals

    def spool_failed(self, error: SpoolError) -> None:
        self._say("spool failed", str(error))

    def spool_works(self) -> None:
        self._say("spool works")

    def texts_work(self) -> None:
        self._say("texts work")

    def lost(self, part: PartId, reason: str) -> None:
        self._say("lost", part.utterance, reason)

    async def probe(self) -> None:
        self._say("probed")
        if self.full:
            raise SpoolError("the disk is full")


class DeliveryHarness:
    """A spool, and one run of a delivery from it after the other."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.spool = Spool(directory, sync_s=0.1)
        self.audience = Audience(self.spool.directory)

    @asynccontextmanager
    async def life(
        self,
        *backends: Backend,
        pause_s: float = 0.001,
        pace_s: float = 0.0,
        rewrite_s: float = 0.01,
        editor: Editor = UNEDITED,
        by_profile: Mapping[str | None, Sequence[str]] | None = None,
    ) -> AsyncIterator[Delivery]:
        self.spool = Spool(self.directory, sync_s=0.1)
        self.audience = Audience(self.spool.directory)
        kept = self.spool.open()
        # Any number of failures is fine: the pauses are short here.
        chain = BackendChain(
            backends, by_profile=by_profile or {}, max_failures=1_000_000, probe_s=lambda failures: pause_s
        )
        delivery = Delivery(
            chain,
            self.spool,
            self.audience,
            editor=editor,
            retry_s=lambda failures: pause_s,
            pace_s=pace_s,
            rewrite_s=rewrite_s,
            probe=self.audience.probe,
        )
        delivery.start(kept)
        try:
            yield delivery
        finally:
            await delivery.close()
            self.spool.close()

    def files(self) -> list[str]:
        return sorted(path.stem for path in self.directory.glob("*.utt"))

    async def cleared(self) -> None:
        """Wait until the spool is empty: its files are deleted after everything is reported."""
        await until(lambda: not self.files())


@pytest.fixture
def harness(tmp_path: Path) -> DeliveryHarness:
    return DeliveryHarness(tmp_path / "spool")


def make_backend(url: str, name: str = "house") -> FlowBackend:
    return FlowBackend(name, FlowSettings(url), Hints(), Patience())


def speak(delivery: Delivery, utterance_id: str = ulid(1), pcm: bytes = SOUND, part: int = 1) -> Utterance:
    """Deliver a complete utterance, or a part of one, and return it."""
    utterance = Utterance(About(utterance_id, 1_700_000_000.0, part))
    delivery.begin(utterance)
    utterance.append(pcm)
    utterance.finish(asyncio.get_running_loop().time())
    return utterance


class TestLive:
    async def test_the_text_is_published_and_the_audio_goes(self, harness: DeliveryHarness) -> None:
        async with FakeBackend() as backend, harness.life(make_backend(backend.url)) as delivery:
            utterance = speak(delivery)
            await harness.audience.hears("delivered", utterance.id)
            await harness.cleared()
            assert harness.audience.of(utterance.id) == ["text", "delivered"]
            assert harness.audience.texts[0].text == echo(SOUND)
            assert delivery.backend == "house"
            assert delivery.spooled == 0

    async def test_nothing_is_deleted_before_it_is_published(self, harness: DeliveryHarness) -> None:
        async with FakeBackend() as backend, harness.life(make_backend(backend.url)) as delivery:
            harness.audience.publishing = asyncio.Event()
            utterance = speak(delivery)
            await harness.audience.hears("publishing", utterance.id)
            assert utterance.durable is not None
            await utterance.durable
            assert harness.files() == [utterance.id]
            harness.audience.publishing.set()
            await harness.audience.hears("delivered", utterance.id)
            await harness.cleared()
        assert harness.audience.kept_when_published == [True]

    async def test_a_break_in_the_middle_costs_a_connection_and_no_audio(self, harness: DeliveryHarness) -> None:
        async with (
            FakeBackend([hangs_up_in_the_middle, works]) as backend,
            harness.life(make_backend(backend.url)) as life,
        ):
            utterance = beginning()
            life.begin(utterance)
            utterance.append(SOUND)
            await backend.called(2)
            utterance.append(SOUND)
            utterance.finish(1.0)
            await harness.audience.hears("delivered", utterance.id)
            assert harness.audience.texts[0].text == echo(SOUND + SOUND)
            assert harness.audience.partials == ["it was"]
            assert len(backend.calls) == 2

    async def test_a_server_that_comes_while_one_speaks(self, harness: DeliveryHarness, unused_tcp_port: int) -> None:
        async with harness.life(make_backend(f"ws://127.0.0.1:{unused_tcp_port}/ws")) as delivery:
            utterance = beginning()
            delivery.begin(utterance)
            utterance.append(SOUND)
            async with FakeBackend(port=unused_tcp_port) as backend:
                await backend.called(1)
                utterance.finish(1.0)
                await harness.audience.hears("delivered", utterance.id)
            assert harness.audience.of(utterance.id) == ["text", "delivered"]
            assert harness.audience.texts[0].text == echo(SOUND)

    async def test_after_the_end_there_is_one_more_attempt(self, harness: DeliveryHarness) -> None:
        async with (
            FakeBackend([hangs_up_in_the_middle, works]) as backend,
            harness.life(make_backend(backend.url), pause_s=3600) as delivery,
        ):
            utterance = beginning()
            delivery.begin(utterance)
            utterance.append(SOUND)
            await (await backend.called(1)).socket.wait_closed()
            utterance.finish(1.0)
            await harness.audience.hears("delivered", utterance.id)
            assert harness.audience.of(utterance.id) == ["text", "delivered"]

    async def test_nobody_is_asked_where_nothing_was_heard(self, harness: DeliveryHarness) -> None:
        async with FakeBackend() as backend:
            backends = BackendChain([make_backend(backend.url)])
            text, name, _ = await backends.text_of(spoken(b""), lambda partial, backend: None)
            assert (text, name) == (FinalText("", None), "house")
            assert backend.calls == []

    async def test_two_at_once_do_not_mix(self, harness: DeliveryHarness) -> None:
        async with FakeBackend() as backend, harness.life(make_backend(backend.url)) as delivery:
            sounds = {ulid(n): noise(0.5, seed=n) for n in range(4)}
            for utterance_id, pcm in sounds.items():
                speak(delivery, utterance_id, pcm)
            for utterance_id in sounds:
                await harness.audience.hears("delivered", utterance_id)
            assert {text.text for text in harness.audience.texts} == {echo(pcm) for pcm in sounds.values()}


class TestFailover:
    async def test_the_next_backend_has_its_turn(self, harness: DeliveryHarness) -> None:
        async with FakeBackend([refuses]) as first, FakeBackend() as second:
            backends = make_backend(first.url, "first"), make_backend(second.url, "second")
            async with harness.life(*backends) as delivery:
                utterance = speak(delivery)
                await harness.audience.hears("text", utterance.id, "second")
                await harness.audience.hears("delivered", utterance.id)
                assert delivery.backend == "second"

    async def test_an_answer_in_text_costs_one_connection_and_is_remembered(self, harness: DeliveryHarness) -> None:
        async with (
            FakeBackend([answers_in_text, works]) as backend,
            harness.life(make_backend(backend.url)) as delivery,
        ):
            for number in (1, 2):
                speak(delivery, ulid(number))
                await harness.audience.hears("delivered", ulid(number))
            assert [call.encoding.value for call in backend.calls] == ["msgpack", "json", "json"]
            assert [text.text for text in harness.audience.texts] == [echo(SOUND)] * 2

    async def test_a_mistake_in_an_attempt_is_a_failed_attempt(
        self, harness: DeliveryHarness, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Broken(FlowBackend):
            async def transcribe(
                self, utterance: Utterance, on_partial: Callable[[PartialText], None], timings: Timings
            ) -> FinalText:
                raise ZeroDivisionError("secret words")

        async with FakeBackend() as service:
            backends = Broken("broken", FlowSettings(service.url), Hints(), Patience()), make_backend(service.url)
            async with harness.life(*backends) as delivery:
                utterance = speak(delivery)
                await harness.audience.hears("text", utterance.id, "house")
        assert "the attempt on backend 'broken' failed" in caplog.text


class TestBacklog:
    async def test_without_a_server_it_is_kept_and_comes_late_in_order(
        self, harness: DeliveryHarness, unused_tcp_port: int
    ) -> None:
        ids = [ulid(number) for number in (1, 2, 3)]
        async with harness.life(make_backend(f"ws://127.0.0.1:{unused_tcp_port}/ws")) as delivery:
            for number, utterance_id in enumerate(ids, 1):
                speak(delivery, utterance_id, noise(0.3, seed=number))
            await harness.audience.until(lambda: delivery.spooled == 3)
            async with FakeBackend(port=unused_tcp_port):
                await harness.audience.hears("delivered", ids[-1])
                await harness.cleared()
            assert [words for words in harness.audience.said if words[0] == "late"] == [
                ("late", utterance_id, "house") for utterance_id in ids
            ]
            assert [text.text for text in harness.audience.texts] == [echo(noise(0.3, seed=n)) for n in (1, 2, 3)]
            assert delivery.spooled == 0

    async def test_a_live_text_stirs_the_backlog_at_once(self, harness: DeliveryHarness) -> None:
        async with (
            FakeBackend([hangs_up, hangs_up, works]) as backend,
            harness.life(make_backend(backend.url), pause_s=3600) as delivery,
        ):
            speak(delivery, ulid(1))
            await backend.called(2)  # the first is deferred, and its next attempt is an hour away
            await harness.audience.until(lambda: delivery.spooled)
            speak(delivery, ulid(2))
            await harness.audience.hears("delivered", ulid(2))
            await harness.audience.hears("late", ulid(1), "house")

    async def test_who_waits_is_told_whether_it_is_the_network(self, harness: DeliveryHarness) -> None:
        """If a connection is refused, its machine was reached."""
        for url, without_network in (("ws://nobody.invalid/ws", True), ("ws://127.0.0.1:1/ws", False)):
            async with harness.life(make_backend(url), pause_s=3600) as delivery:
                speak(delivery, ulid(1))
                await harness.audience.until(lambda: "deferred" in harness.audience.of(ulid(1)))
                assert harness.audience.without_network is without_network

    async def test_each_failure_is_told_with_its_own_reason(
        self, harness: DeliveryHarness, unused_tcp_port: int
    ) -> None:
        url = f"ws://127.0.0.1:{unused_tcp_port}/ws"
        async with harness.life(make_backend(url)) as delivery:
            speak(delivery, ulid(1))
            await harness.audience.until(lambda: "deferred" in harness.audience.of(ulid(1)))
            async with FakeBackend([refuses, works], port=unused_tcp_port):
                await harness.audience.hears("deferred again", ulid(1), "the server refused: the quota is used up")
                await harness.audience.hears("late", ulid(1), "house")

    async def test_a_text_that_the_disk_does_not_take_came_over_a_network(self, harness: DeliveryHarness) -> None:
        gone = make_backend("ws://nobody.invalid/ws", "gone")
        async with FakeBackend() as backend, harness.life(gone, make_backend(backend.url)) as delivery:
            harness.audience.full = True
            speak(delivery, ulid(1))
            await harness.audience.until(lambda: "deferred" in harness.audience.of(ulid(1)))
            assert harness.audience.without_network is False

    async def test_it_rests_while_somebody_speaks(self, harness: DeliveryHarness) -> None:
        async with (
            FakeBackend([works, hangs_up, works]) as backend,
            harness.life(make_backend(backend.url)) as delivery,
        ):
            speaking = beginning(ulid(2))
            delivery.begin(speaking)
            await backend.called(1)
            speak(delivery, ulid(1))
            await harness.audience.until(lambda: delivery.spooled)
            await ticks(300)
            assert len(backend.calls) == 2
            speaking.finish(1.0)
            await harness.audience.hears("delivered", ulid(1))
            assert ("late", ulid(1), "house") in harness.audience.said

    async def test_what_an_earlier_life_left_is_delivered(self, harness: DeliveryHarness) -> None:
        async with FakeBackend([is_mute_after_commit]) as backend, harness.life(make_backend(backend.url)) as delivery:
            utterance = speak(delivery)
            await backend.called(1)
            assert utterance.durable is not None
            assert await utterance.durable
        assert harness.files() == [utterance.id]
        async with FakeBackend() as backend, harness.life(make_backend(backend.url)) as delivery:
            await harness.audience.hears("late", utterance.id, "house")
            await harness.cleared()
        assert harness.audience.texts[0].text == echo(SOUND)

    async def test_what_cannot_be_read_does_not_stand_in_the_way(self, harness: DeliveryHarness) -> None:
        harness.directory.mkdir()
        (harness.directory / f"{ulid(1)}.utt").write_bytes(b"rubbish")
        async with FakeBackend() as backend, harness.life(make_backend(backend.url)) as delivery:
            speak(delivery, ulid(2))
            await harness.audience.hears("delivered", ulid(2))
            await harness.audience.until(lambda: delivery.spooled == 0)
            assert ulid(1) not in harness.files()

    async def test_a_press_of_which_nothing_was_heard_does_not_stand_in_the_way(self, harness: DeliveryHarness) -> None:
        async with harness.life(make_backend("ws://127.0.0.1:1/ws")):
            await harness.spool.keep(spoken(b"", ulid(1)))
        async with harness.life(make_backend("ws://127.0.0.1:1/ws")):
            await harness.audience.hears("delivered", ulid(1))
            await harness.cleared()

    async def test_what_is_on_the_disk_is_not_held_in_memory_too(
        self, harness: DeliveryHarness, unused_tcp_port: int
    ) -> None:
        """The text is that of the file, not of the object."""
        async with harness.life(make_backend(f"ws://127.0.0.1:{unused_tcp_port}/ws")) as delivery:
            utterance = speak(delivery)
            await harness.audience.until(lambda: delivery.spooled and ("spool works",) in harness.audience.said)
            utterance._pcm.clear()
            async with FakeBackend(port=unused_tcp_port):
                await harness.audience.hears("late", utterance.id, "house")
        assert harness.audience.texts[0].text == echo(SOUND)


class TestTheDiskFails:
    async def test_what_cannot_be_kept_is_delivered_all_the_same(self, harness: DeliveryHarness) -> None:
        async with FakeBackend([hangs_up, works]) as backend, harness.life(make_backend(backend.url)) as delivery:
            harness.directory.rmdir()
            harness.directory.touch()
            utterance = speak(delivery)
            await harness.audience.hears("late", utterance.id, "house")
            await harness.audience.hears("delivered", utterance.id)
            assert harness.audience.texts[0].text == echo(SOUND)
            assert utterance.durable is not None
            assert not await utterance.durable
        assert [words[0] for words in harness.audience.said].count("spool failed") >= 1

    async def test_a_text_that_cannot_be_published_keeps_its_audio(self, harness: DeliveryHarness) -> None:
        async with FakeBackend() as backend, harness.life(make_backend(backend.url)) as delivery:
            harness.audience.full = True
            utterance = speak(delivery)
            await harness.audience.until(lambda: delivery.spooled)
            await harness.audience.until(lambda: harness.audience.of(utterance.id).count("not published") >= 3)
            assert harness.files() == [utterance.id]
            assert "delivered" not in harness.audience.of(utterance.id)
            harness.audience.full = False
            await harness.audience.hears("delivered", utterance.id)
            await harness.cleared()


class TestDrop:
    async def test_while_it_is_spoken(self, harness: DeliveryHarness) -> None:
        async with FakeBackend([is_mute_after_auth]) as backend, harness.life(make_backend(backend.url)) as delivery:
            utterance = beginning()
            delivery.begin(utterance)
            utterance.append(SOUND)
            call = await backend.called(1)
            delivery.drop(utterance.part_id)
            utterance.finish(1.0)
            async with asyncio.timeout(PATIENCE_S):
                await call.socket.wait_closed()
            await harness.cleared()
        assert harness.audience.of(utterance.id) == []
        assert harness.files() == []

    async def test_at_once(self, harness: DeliveryHarness) -> None:
        async with FakeBackend() as backend, harness.life(make_backend(backend.url)) as delivery:
            utterance = beginning()
            delivery.begin(utterance)
            delivery.drop(utterance.part_id)
            utterance.finish(1.0)
        assert harness.audience.of(utterance.id) == []
        assert harness.files() == []

    async def test_while_its_text_is_awaited(self, harness: DeliveryHarness) -> None:
        async with FakeBackend([is_mute_after_commit]) as backend, harness.life(make_backend(backend.url)) as delivery:
            utterance = speak(delivery)
            call = await backend.called(1)
            await until(lambda: call.committed)
            delivery.drop(utterance.part_id)
            await harness.cleared()
        assert harness.audience.of(utterance.id) == []

    async def test_while_it_is_late(self, harness: DeliveryHarness) -> None:
        async with (
            FakeBackend([hangs_up, is_mute_after_commit, works]) as backend,
            harness.life(make_backend(backend.url)) as delivery,
        ):
            speak(delivery, ulid(1))
            call = await backend.called(2)
            await until(lambda: call.committed)
            delivery.drop(PartId(ulid(1)))
            assert delivery.spooled == 0
            async with asyncio.timeout(PATIENCE_S):
                await call.socket.wait_closed()
            speak(delivery, ulid(2))
            await harness.audience.hears("delivered", ulid(2))
            await harness.cleared()
        assert harness.audience.of(ulid(1)) == ["deferred"]

    async def test_one_that_waits_behind_another(self, harness: DeliveryHarness, unused_tcp_port: int) -> None:
        async with harness.life(make_backend(f"ws://127.0.0.1:{unused_tcp_port}/ws"), pause_s=3600) as delivery:
            for number in (1, 2):
                speak(delivery, ulid(number))
            await harness.audience.until(lambda: delivery.spooled == 2)
            delivery.drop(PartId(ulid(2)))
            assert delivery.spooled == 1
            await until(lambda: harness.files() == [ulid(1)])

    async def test_an_unknown_one_is_harmless(self, harness: DeliveryHarness) -> None:
        async with harness.life(make_backend("ws://127.0.0.1:1/ws")) as delivery:
            delivery.drop(PartId(ulid(9)))


class TestClose:
    @pytest.mark.parametrize(
        "script", [hangs_up, hangs_up_after_commit, hangs_up_in_the_middle, is_mute_after_auth, is_mute_after_commit]
    )
    @pytest.mark.parametrize("number", [0, 1, 5, 30, 100, 300])
    async def test_at_any_moment_the_audio_is_kept(self, harness: DeliveryHarness, script: Script, number: int) -> None:
        async with FakeBackend([script]) as backend, harness.life(make_backend(backend.url)) as delivery:
            speak(delivery)
            await ticks(number)
        assert harness.files() == [ulid(1)]
        async with FakeBackend() as backend, harness.life(make_backend(backend.url)):
            await harness.audience.hears("delivered", ulid(1))
        assert harness.audience.texts[0].text == echo(SOUND)

    async def test_while_publishing_nothing_is_lost(self, harness: DeliveryHarness) -> None:
        async with FakeBackend() as backend, harness.life(make_backend(backend.url)) as delivery:
            harness.audience.publishing = asyncio.Event()
            speak(delivery)
            await harness.audience.hears("publishing", ulid(1))
        assert harness.files() == [ulid(1)]


async def test_all_backends_failed_is_the_last_ones_reason() -> None:
    async with FakeBackend([hangs_up]) as first, FakeBackend([refuses]) as second:
        backends: Sequence[Backend] = [make_backend(first.url, "first"), make_backend(second.url, "second")]
        chain = BackendChain(backends)
        with pytest.raises(BackendError, match="the server refused: the quota is used up"):
            await chain.text_of(spoken(SOUND), lambda partial, backend: None)
        with pytest.raises(LinkError):
            await BackendChain(backends[::-1]).text_of(spoken(SOUND), lambda partial, backend: None)
        await chain.close()


class TestWhatNoBackendTakes:
    @pytest.mark.parametrize("code", [None, 1009])
    async def test_it_does_not_hold_up_the_others(self, harness: DeliveryHarness, code: int | None) -> None:
        poison = noise(0.2, seed=99)

        async def picky(call: Call) -> None:
            await call.authenticate()
            await call.hear()
            if call.pcm.startswith(poison):
                await (refuses(call) if code is None else call.socket.close(code))
            else:
                await call.say(echo(call.pcm), final=True)

        spool = Spool(harness.directory)
        spool.open()
        await spool.keep(spoken(poison, ulid(1)))
        for number in (2, 3):
            await spool.keep(spoken(SOUND, ulid(number)))
        spool.close()
        async with FakeBackend([picky]) as backend, harness.life(make_backend(backend.url)) as delivery:
            await harness.audience.hears("delivered", ulid(3))
            assert harness.audience.of(ulid(2))[-1] == "delivered"
            assert delivery.spooled == 1
        assert harness.files() == [ulid(1)]

    async def test_a_mistake_in_a_sink_is_not_the_end_of_the_delivery(self, harness: DeliveryHarness) -> None:
        async with FakeBackend() as backend, harness.life(make_backend(backend.url)) as delivery:
            good = harness.audience.publish

            async def broken(*_: object) -> None:
                raise RuntimeError("a mistake")

            harness.audience.publish = broken  # type: ignore[assignment,method-assign]
            speak(delivery, ulid(1))
            await harness.audience.until(lambda: "deferred" in harness.audience.of(ulid(1)))
            harness.audience.publish = good  # type: ignore[method-assign]
            await harness.audience.hears("delivered", ulid(1))


class TestADiskThatWorksAgain:
    async def test_what_it_did_not_take_is_written_then(self, harness: DeliveryHarness) -> None:
        async with harness.life(make_backend("ws://127.0.0.1:1/ws"), pause_s=3600) as delivery:
            disk = AbsentDisk(harness.directory)
            speak(delivery, ulid(1))
            await harness.audience.until(lambda: "deferred" in harness.audience.of(ulid(1)))
            await until(lambda: any(event[0] == "spool failed" for event in harness.audience.said))
            disk.comes_back()
            speak(delivery, ulid(2))
            await until(lambda: harness.files() == [ulid(1), ulid(2)])
        loaded = harness.spool.load(PartId(ulid(1)))
        assert loaded is not None
        assert loaded.read(0, loaded.length) == SOUND

    async def test_or_at_the_stop(self, harness: DeliveryHarness) -> None:
        async with harness.life(make_backend("ws://127.0.0.1:1/ws"), pause_s=3600) as delivery:
            disk = AbsentDisk(harness.directory)
            speak(delivery, ulid(1))
            await harness.audience.until(lambda: "deferred" in harness.audience.of(ulid(1)))
            await until(lambda: any(event[0] == "spool failed" for event in harness.audience.said))
            disk.comes_back()
        assert harness.files() == [ulid(1)]


class TestRightOfWay:
    async def test_who_speaks_interrupts_the_backlog_three_times_in_a_row(self, harness: DeliveryHarness) -> None:
        """The first connection of each pair is that of the live dictation, the second that of the backlog."""
        mute = [hangs_up, *[is_mute_after_commit, works] * 3, is_mute_after_commit, works]
        async with FakeBackend(mute) as backend, harness.life(make_backend(backend.url)) as delivery:
            speak(delivery, ulid(1))
            for number in range(2, 5):
                late = await backend.called(2 * number - 2)
                await until(lambda late=late: late.committed)  # type: ignore[misc]
                speak(delivery, ulid(number))
                await late.socket.wait_closed()
                await harness.audience.hears("delivered", ulid(number))
            late = await backend.called(8)
            await until(lambda: late.committed)
            speak(delivery, ulid(5))
            await harness.audience.hears("delivered", ulid(5))
            assert late.socket.state.name == "OPEN"
            assert len(backend.calls) == 9
            await late.say(echo(late.pcm), final=True)
            await harness.audience.hears("late", ulid(1), "house")
        assert harness.audience.texts[-1].text == echo(SOUND)  # from the first packet on

    async def test_one_that_was_let_through_may_be_interrupted_again(
        self, harness: DeliveryHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The utterance had a text, which a bug in a sink lost."""
        monkeypatch.setattr("flowpi.delivery.late.MAX_INTERRUPTIONS", 1)
        scripts = [hangs_up, *[is_mute_after_commit, works] * 3]
        async with FakeBackend(scripts) as backend, harness.life(make_backend(backend.url)) as delivery:
            good = harness.audience.publish

            async def broken(utterance: Utterance, *about: Any) -> None:
                if utterance.id == ulid(1):
                    raise RuntimeError("a mistake")
                await good(utterance, *about)

            harness.audience.publish = broken  # type: ignore[assignment,method-assign]
            speak(delivery, ulid(1))
            late = {}
            for number, call in ((2, 2), (3, 4), (4, 6)):
                late[number] = await backend.called(call)
                await until(lambda call=late[number]: call.committed)  # type: ignore[misc]
                speak(delivery, ulid(number))
                await harness.audience.hears("delivered", ulid(number))
                if number == 3:
                    assert late[3].socket.state.name == "OPEN"
                    await late[3].say(echo(SOUND), final=True)
            async with asyncio.timeout(PATIENCE_S):
                await late[4].socket.wait_closed()

    async def test_nothing_is_interrupted_that_is_being_published(self, harness: DeliveryHarness) -> None:
        async with FakeBackend([hangs_up, works]) as backend, harness.life(make_backend(backend.url)) as delivery:
            harness.audience.publishing = asyncio.Event()
            speak(delivery, ulid(1))
            await harness.audience.hears("publishing", ulid(1))
            speak(delivery, ulid(2))
            await harness.audience.hears("publishing", ulid(2))
            harness.audience.publishing.set()
            await harness.audience.hears("delivered", ulid(1))
            await harness.audience.hears("delivered", ulid(2))
            assert len(backend.calls) == 3

    async def test_the_backlog_is_drained_at_a_bounded_rate(
        self, harness: DeliveryHarness, unused_tcp_port: int
    ) -> None:
        loop = asyncio.get_running_loop()
        async with harness.life(make_backend(f"ws://127.0.0.1:{unused_tcp_port}/ws"), pace_s=0.1) as delivery:
            for number in range(1, 6):
                speak(delivery, ulid(number), noise(0.1))
            await harness.audience.until(lambda: delivery.spooled == 5)
            began = loop.time()
            async with FakeBackend(port=unused_tcp_port):
                await harness.audience.hears("delivered", ulid(5))
            assert loop.time() - began >= 0.39  # four pauses, and timers may be early by their resolution


class TestParts:
    async def test_a_text_waits_for_that_of_the_part_before(self, harness: DeliveryHarness) -> None:
        go_on = asyncio.Event()

        async def slow(call: Call) -> None:
            await call.authenticate()
            await call.hear()
            await go_on.wait()
            await call.say(echo(call.pcm), final=True)

        async with FakeBackend([slow, works]) as backend, harness.life(make_backend(backend.url)) as delivery:
            first = speak(delivery, part=1)
            await backend.called(1)
            speak(delivery, part=2, pcm=noise(0.2))
            await (await backend.called(2)).socket.wait_closed()
            await ticks(100)
            assert harness.audience.texts == []
            assert [one.reason for one in delivery.waiting()] == ["the text is awaited"] * 2
            go_on.set()
            await harness.audience.until(lambda: len(harness.audience.texts) == 2)
            assert [text.text for text in harness.audience.texts] == [echo(SOUND), echo(noise(0.2))]
            assert harness.audience.of(first.id).count("deferred") == 0

    async def test_a_text_is_held_while_the_part_before_is_in_the_backlog_and_asked_for_once(
        self, harness: DeliveryHarness
    ) -> None:
        scripts = [is_mute_after_auth, hangs_up, works]
        async with FakeBackend(scripts) as backend, harness.life(make_backend(backend.url), pause_s=3600) as delivery:
            one = beginning(ulid(9))
            delivery.begin(one)  # somebody speaks, so the backlog waits
            await backend.called(1)
            speak(delivery, part=1)
            await harness.audience.until(lambda: delivery.spooled)
            speak(delivery, part=2, pcm=noise(0.2))
            await harness.audience.until(lambda: delivery.spooled == 2)
            assert harness.audience.texts == []
            waiting = {entry.part: entry.reason for entry in delivery.waiting()}
            assert waiting[PartId(ulid(1), 2)] == "waits for the text of part 1"
            delivery.drop(one.part_id)
            one.finish(0.0)
            await harness.audience.until(lambda: len(harness.audience.texts) == 2)
            assert [text.text for text in harness.audience.texts] == [echo(SOUND), echo(noise(0.2))]
            await harness.cleared()
            assert len(backend.calls) == 4

    async def test_those_of_an_earlier_life_keep_their_order(self, harness: DeliveryHarness) -> None:
        spool = Spool(harness.directory)
        spool.open()
        for part in (2, 1, 3):
            pcm = noise(0.1, seed=part)
            await spool.keep(Utterance(About(ulid(1), 1.7e9, part), pcm=pcm, complete=True))
        spool.close()
        async with FakeBackend([hangs_up, works]) as backend, harness.life(make_backend(backend.url)):
            await harness.cleared()
        assert [text.text for text in harness.audience.texts] == [echo(noise(0.1, seed=part)) for part in (1, 2, 3)]

    async def test_a_parked_or_dropped_one_holds_up_no_later_part(self, harness: DeliveryHarness) -> None:
        poison = noise(0.2, seed=99)

        async def picky(call: Call) -> None:
            await call.authenticate()
            await call.hear()
            await (call.socket.close(1009) if call.pcm.startswith(poison) else call.say(echo(call.pcm), final=True))

        async with FakeBackend([picky]) as backend, harness.life(make_backend(backend.url)) as delivery:
            speak(delivery, part=1, pcm=poison)
            speak(delivery, part=2)
            await harness.audience.until(lambda: harness.audience.texts)
            assert [told[0] for told in harness.audience.said].count("parked") == 1
            assert [entry.parked for entry in delivery.waiting()] == [True]
            delivery.drop(PartId(ulid(1)))
            await harness.cleared()


class TestParking:
    async def test_what_no_backend_takes_is_left_alone_after_five_times_and_tried_when_its_owner_says(
        self, harness: DeliveryHarness
    ) -> None:
        async def refuse(call: Call) -> None:
            await call.authenticate()
            await call.hear()
            await call.socket.close(1009)

        async with FakeBackend([refuse] * 5 + [works]) as backend, harness.life(make_backend(backend.url)) as delivery:
            speak(delivery)
            await harness.audience.until(lambda: "parked" in harness.audience.of(ulid(1)))
            await asyncio.sleep(0.05)
            assert len(backend.calls) == 5
            (waiting,) = delivery.waiting()
            assert waiting.parked
            assert waiting.attempts == 5
            assert "1009" in waiting.reason
            assert delivery.spooled == 1
            delivery.retry([PartId(ulid(1))])
            await harness.audience.hears("late", ulid(1), "house")
        assert harness.audience.of(ulid(1)).count("parked") == 1

    async def test_a_backend_that_was_not_asked_may_take_it(
        self, harness: DeliveryHarness, unused_tcp_port: int
    ) -> None:
        async def refuse(call: Call) -> None:
            await call.authenticate()
            await call.socket.close(1009)

        async with FakeBackend([refuse]) as service:
            backends = make_backend(service.url), make_backend(f"ws://127.0.0.1:{unused_tcp_port}/ws", "other")
            async with harness.life(*backends) as delivery:
                speak(delivery)
                await service.called(20)
                assert not delivery.waiting()[0].parked
                async with FakeBackend(port=unused_tcp_port):
                    await harness.audience.hears("late", ulid(1), "other")


class TestMemory:
    async def test_what_the_disk_did_not_take_is_written_again_by_itself(self, harness: DeliveryHarness) -> None:
        async with harness.life(make_backend("ws://127.0.0.1:1/ws"), pause_s=3600) as delivery:
            disk = AbsentDisk(harness.directory)
            speak(delivery)
            await harness.audience.until(lambda: any(told[0] == "spool failed" for told in harness.audience.said))
            await harness.audience.until(lambda: delivery.spooled)
            assert delivery.waiting()[0].in_memory
            assert not delivery.memory_full
            disk.comes_back()
            await harness.audience.hears("spool works")
            assert not delivery.waiting()[0].in_memory
            assert harness.files() == [ulid(1)]

    async def test_what_is_known_already_is_not_taken_up_twice(self, harness: DeliveryHarness) -> None:
        async with FakeBackend([is_mute_after_commit]) as backend, harness.life(make_backend(backend.url)) as delivery:
            utterance = speak(delivery)
            await harness.audience.hears("spool works")
            await until(lambda: harness.files() == [utterance.id])
            await ticks()
            delivery.add([utterance.part_id])
            assert delivery.spooled == 0
            delivery.drop(utterance.part_id)
            delivery.add([utterance.part_id])  # its file is still there
            assert delivery.spooled == 0

    async def test_a_spool_that_opens_later_is_taken_up(self, harness: DeliveryHarness) -> None:
        spool = Spool(harness.directory)
        spool.open()
        await spool.keep(spoken(SOUND, ulid(1)))
        spool.close()
        async with FakeBackend() as backend:
            late = Spool(harness.directory, sync_s=0.1)
            audience = Audience(late.directory)
            delivery = Delivery(BackendChain([make_backend(backend.url)]), late, audience, pace_s=0.0, rewrite_s=0.01)
            delivery.start([])
            speak(delivery, ulid(2))
            await audience.hears("delivered", ulid(2))
            delivery.add(late.open())
            await audience.hears("late", ulid(1), "house")
            await until(lambda: not harness.files())
            delivery.add([])
            await delivery.close()
            late.close()


class TestWaiting:
    async def test_all_that_has_no_text_is_told_with_its_reason(self, harness: DeliveryHarness) -> None:
        spool = Spool(harness.directory)
        spool.open()
        for number in (1, 2):
            await spool.keep(spoken(SOUND, ulid(number)))
        spool.close()
        scripts = [is_mute_after_commit, is_mute_after_auth]
        async with FakeBackend(scripts) as backend, harness.life(make_backend(backend.url)) as delivery:
            await backend.called(1)
            late, other = delivery.waiting()
            assert (late.part, late.reason, late.attempts, late.sending) == (PartId(ulid(1)), "not tried yet", 1, True)
            assert (other.part, other.reason, other.attempts) == (PartId(ulid(2)), "not tried yet", 0)
            assert not other.sending
            utterance = beginning(ulid(3))
            delivery.begin(utterance)
            utterance.append(SOUND)
            assert delivery.waiting()[2].reason == "it is being spoken"
            utterance.finish(0.0)
            assert delivery.waiting()[2].reason == "the text is awaited"

    async def test_the_owner_ends_the_pause(self, harness: DeliveryHarness, unused_tcp_port: int) -> None:
        async with harness.life(make_backend(f"ws://127.0.0.1:{unused_tcp_port}/ws"), pause_s=3600) as delivery:
            speak(delivery)
            await harness.audience.until(lambda: delivery.spooled)
            await ticks(300)
            assert "not reached" in delivery.waiting()[0].reason
            async with FakeBackend(port=unused_tcp_port):
                delivery.retry()
                await harness.audience.hears("late", ulid(1), "house")
