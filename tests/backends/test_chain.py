"""Several backends: who has the first turn, who is passed over, and what a late answer is worth."""

import asyncio
from collections.abc import Callable, Coroutine
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pytest

from flowpi.audio.denoise import speex, unfiltered
from flowpi.audio.utterance import Utterance
from flowpi.backends import flow, suki
from flowpi.backends.backend import Backend, Environment
from flowpi.backends.chain import BackendChain, make_backends
from flowpi.backends.flow import FlowBackend
from flowpi.backends.patience import Patience
from flowpi.backends.result import Timings
from flowpi.backends.suki import SukiBackend
from flowpi.config.backends.flow import LOCAL_URL, FlowSettings, TokenSettings
from flowpi.config.backends.suki import SukiSettings
from flowpi.config.schema import AudioSettings, Config, DictationSettings
from flowpi.config.secret import Secret
from flowpi.core.errors import (
    BackendError,
    ClosedError,
    CredentialError,
    HttpError,
    LinkError,
    NoText,
    ProtocolError,
)
from flowpi.core.hints import Hints
from flowpi.wire.roles import FinalText, PartialText
from tests import clock
from tests.backends.fake_backend import Call, FakeBackend
from tests.sound import beginning, echo, noise, spoken

SOUND = noise(0.3)


class Levers:
    """A backend in memory. `error`: what every contact ends with, after `takes_s`; `asked` and `probed`: when."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.error: Callable[[], BackendError] | None = None
        self.key: str | None = None
        self.takes_s = 0.01
        self.opens = False
        """Whether a session opens although no text comes of it."""
        self.asked: list[float] = []
        self.forgiven = 0
        self.probed: list[float] = []

    def start(self) -> None: ...

    async def transcribe(
        self, utterance: Utterance, on_partial: Callable[[PartialText], None], timings: Timings
    ) -> FinalText:
        self.asked.append(asyncio.get_running_loop().time())
        timings.audio_at = self.asked[-1]
        await self._contact()
        return FinalText(self.name, "en")

    async def probe(self) -> None:
        self.probed.append(asyncio.get_running_loop().time())
        if not self.opens:
            await self._contact()

    def forgive(self) -> None:
        self.forgiven += 1

    def user_key(self) -> str | None:
        return self.key

    async def close(self) -> None: ...

    async def _contact(self) -> None:
        await asyncio.sleep(self.takes_s)
        if self.error is not None:
            raise self.error()


class Pair:
    """Two of them; `dictate` tells whose text it was."""

    def __init__(self) -> None:
        self.first, self.second = Levers("first"), Levers("second")
        self.well = 0
        self.backends = BackendChain([self.first, self.second], probe_s=lambda failures: min(60.0, 2.0**failures))
        self.backends.start(self._is_well)

    def _is_well(self) -> None:
        self.well += 1

    async def dictate(self) -> str:
        text, name, _ = await self.backends.text_of(spoken(SOUND), lambda partial, name: None)
        assert text.text == name
        return name


async def test_backends_may_be_made_when_they_are_first_used() -> None:
    makes = 0

    def make() -> list[Levers]:
        nonlocal makes
        makes += 1
        return [Levers("a"), Levers("b")]

    chain = BackendChain(make)
    assert makes == 0, "before the first use"
    text, name, _ = await chain.text_of(spoken(SOUND), lambda partial, name: None)
    chain.start()
    await chain.close()
    assert (text.text, name, makes) == ("a", "a", 1)


def stage(scene: Callable[[Pair], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        pair = Pair()
        await scene(pair)
        await pair.backends.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    clock.run(main())


def down() -> BackendError:
    return LinkError("no answer in time")


class TestHealth:
    def test_one_that_failed_is_passed_over_until_a_probe_is_good(self) -> None:
        async def scene(pair: Pair) -> None:
            pair.first.error = down
            assert await pair.dictate() == "second"
            assert await pair.dictate() == "second"
            assert len(pair.first.asked) == 1
            pair.first.error = None
            await asyncio.sleep(2.1)
            assert (len(pair.first.probed), pair.well) == (1, 1)
            assert await pair.dictate() == "first"
            assert await pair.dictate() == "first"
            await asyncio.sleep(3600)
            assert len(pair.first.probed) == 1
            assert pair.second.probed == []

        stage(scene)

    def test_it_is_the_last_resort(self) -> None:
        async def scene(pair: Pair) -> None:
            pair.first.error = down
            assert await pair.dictate() == "second"
            pair.first.error, pair.second.error = None, down
            assert await pair.dictate() == "first"
            assert await pair.dictate() == "first"
            assert len(pair.second.asked) == 2
            pair.second.error = None
            await asyncio.sleep(3)
            assert pair.first.probed == []  # its text made it well

        stage(scene)

    def test_probes_come_more_and_more_seldom(self) -> None:
        async def scene(pair: Pair) -> None:
            pair.first.error = down
            await pair.dictate()
            await asyncio.sleep(1000)
            probed = pair.first.probed
            waits = [round(after - before) for before, after in pairwise(probed)]
            assert waits[:5] == [4, 8, 16, 32, 60]
            assert set(waits[5:]) == {60}

        stage(scene)

    def test_one_that_opens_sessions_and_gives_no_text_is_passed_over_for_longer_each_time(self) -> None:
        async def scene(pair: Pair) -> None:
            pair.first.error, pair.first.opens = lambda: NoText("x"), True
            for _ in range(600):
                assert await pair.dictate() == "second"
                await asyncio.sleep(1)
            assert len(pair.first.asked) < 20

        stage(scene)

    @pytest.mark.parametrize("error", [ProtocolError("x"), HttpError("x", status=413), BackendError("a bug")])
    def test_what_concerns_the_utterance_costs_the_backend_nothing(self, error: BackendError) -> None:
        async def scene(pair: Pair) -> None:
            pair.first.error = lambda: error
            await pair.dictate()
            pair.first.error = None
            assert await pair.dictate() == "first"
            await asyncio.sleep(100)
            assert pair.first.probed == []

        stage(scene)

    def test_a_rest_that_the_service_asked_for_is_kept_by_all(self) -> None:
        async def scene(pair: Pair) -> None:
            pair.first.error = lambda: HttpError("busy", status=429, retry_after_s=100.0)
            pair.second.error = down
            with pytest.raises(LinkError):
                await pair.dictate()
            pair.first.error = None
            pair.backends.end_rests()
            assert pair.first.forgiven == 1
            with pytest.raises(LinkError):
                await pair.dictate()
            await asyncio.sleep(99)
            assert (len(pair.first.asked), len(pair.first.probed)) == (1, 0)
            await asyncio.sleep(2)
            assert await pair.dictate() == "first"

        stage(scene)

    def test_a_rest_of_ours_ends_when_the_owner_wants_it(self) -> None:
        async def scene(pair: Pair) -> None:
            pair.first.error = pair.second.error = lambda: HttpError("x", status=404)
            with pytest.raises(HttpError):
                await pair.dictate()
            pair.first.error = None
            with pytest.raises(HttpError):
                await pair.dictate()
            assert len(pair.first.asked) == 1
            pair.backends.end_rests()
            assert await pair.dictate() == "first"

        stage(scene)

    def test_the_only_one_is_not_probed(self) -> None:
        async def main() -> None:
            only = Levers("only")
            only.error = down
            backends = BackendChain([only])
            with pytest.raises(LinkError):
                await backends.text_of(spoken(SOUND), lambda partial, name: None)
            await asyncio.sleep(3600)
            assert only.probed == []
            await backends.close()

        clock.run(main())

    def test_those_that_retire_are_not_probed_any_more(self) -> None:
        async def scene(pair: Pair) -> None:
            pair.first.error = down
            await pair.dictate()
            await pair.backends.retire()
            await asyncio.sleep(3600)
            assert pair.first.probed == []

        stage(scene)

    @pytest.mark.parametrize("after_s", [0.005, 1.0])
    def test_nor_before_their_last_round_is_over(self, after_s: float) -> None:
        """The first fails after 10 ms, and its probe would be 2 s later."""

        async def scene(pair: Pair) -> None:
            pair.first.error, pair.second.takes_s = down, 600.0
            dictating = asyncio.create_task(pair.dictate())
            await asyncio.sleep(after_s)
            await pair.backends.retire()
            assert dictating.done()
            assert await dictating == "second"
            assert pair.first.probed == []

        stage(scene)

    def test_a_refusal_that_a_probe_finds_mended_is_none(self) -> None:
        async def scene(pair: Pair) -> None:
            pair.first.error = lambda: ClosedError(4001)
            await pair.dictate()
            assert len(pair.backends.refusals) == 1
            pair.first.error = None
            await asyncio.sleep(3)
            assert pair.backends.refusals == []

        stage(scene)


class TestAnotherKey:
    async def test_each_kind_of_backend_tells_its_owners_key_as_it_is(self, tmp_path: Path) -> None:
        file = tmp_path / "key"
        secret = Secret("file", str(file))
        flows = [
            FlowSettings("ws://x/ws", client_key=secret),
            FlowSettings("ws://x/ws", api_key=secret),
            FlowSettings("ws://x/ws", token=TokenSettings(url="http://x/", api_key=secret)),
        ]
        backends: list[Backend] = [FlowBackend("cloud", flow, Hints(), Patience()) for flow in flows]
        suki = SukiSettings(partner_id="p", partner_token=secret, url="http://x/")
        backends.append(SukiBackend("clinic", suki, Patience()))
        for content in (None, "old", "new"):
            if content is not None:
                file.write_text(content)
            assert [backend.user_key() for backend in backends] == [content] * 4
        assert FlowBackend("house", FlowSettings("ws://x/ws"), Hints(), Patience()).user_key() is None
        command = FlowSettings("ws://x/ws", token=TokenSettings(command=("true",)))
        assert FlowBackend("house", command, Hints(), Patience()).user_key() is None

    @pytest.mark.parametrize("error", [HttpError("no", status=401), CredentialError("there is no key")])
    def test_a_mended_key_is_used_in_the_next_dictation(self, error: BackendError) -> None:
        async def scene(pair: Pair) -> None:
            pair.first.error = lambda: error
            assert await pair.dictate() == "second"
            assert await pair.dictate() == "second"
            pair.first.error, pair.first.key = None, "the right one"
            assert await pair.dictate() == "first"
            await asyncio.sleep(3600)
            assert (len(pair.first.asked), pair.first.probed) == (2, [])

        stage(scene)

    def test_another_wrong_one_costs_one_contact(self) -> None:
        async def scene(pair: Pair) -> None:
            pair.first.error = lambda: HttpError("no", status=401)
            await pair.dictate()
            pair.first.key = "another wrong one"
            for _ in range(3):
                assert await pair.dictate() == "second"
            assert len(pair.first.asked) == 2

        stage(scene)

    def test_it_ends_the_rest_after_many_failures(self) -> None:
        async def scene(pair: Pair) -> None:
            pair.first.error = pair.second.error = lambda: HttpError("no", status=401)
            for _ in range(20):
                with pytest.raises(HttpError):
                    await pair.dictate()
            assert len(pair.first.asked) == 10
            pair.first.error, pair.first.key = None, "the right one"
            assert await pair.dictate() == "first"

        stage(scene)

    def test_a_key_does_not_mend_what_is_down(self) -> None:
        async def scene(pair: Pair) -> None:
            pair.first.error = down
            await pair.dictate()
            pair.first.key = "another"
            assert await pair.dictate() == "second"
            assert len(pair.first.asked) == 1

        stage(scene)

    def test_it_ends_no_rest_that_a_service_asked_for(self) -> None:
        async def scene(pair: Pair) -> None:
            for backend in (pair.first, pair.second):
                errors = [HttpError("no", status=401), HttpError("busy", status=429, retry_after_s=100.0)]
                backend.error = errors.pop
            told = await asyncio.gather(pair.dictate(), pair.dictate(), return_exceptions=True)
            assert all(isinstance(error, HttpError) for error in told)
            for backend in (pair.first, pair.second):
                backend.key = "another"
            with pytest.raises(LinkError):
                await pair.dictate()
            assert (len(pair.first.asked), len(pair.second.asked)) == (2, 2)

        stage(scene)


class TestAnAnswerThatComesLate:
    @pytest.mark.parametrize("first_answers_before_the_second", [True, False])
    async def test_it_is_dropped(self, first_answers_before_the_second: bool) -> None:
        may_answer, has_answered = asyncio.Event(), asyncio.Event()

        async def late(call: Call) -> None:
            await call.authenticate()
            await call.hear()
            await may_answer.wait()
            try:
                await call.say("the late one", final=True)
            finally:
                has_answered.set()

        async def second(call: Call) -> None:
            await call.authenticate()
            await call.hear()
            if first_answers_before_the_second:
                may_answer.set()
                await has_answered.wait()
            await call.say(echo(call.pcm), final=True)

        async with FakeBackend([late]) as one, FakeBackend([second]) as other:
            backends = [
                FlowBackend(name, FlowSettings(url), Hints(), patience)
                for name, url, patience in (
                    ("first", one.url, Patience(final_s=0.2)),
                    ("second", other.url, Patience()),
                )
            ]
            chain = BackendChain(backends)
            texts: list[str] = []
            text, name, _ = await chain.text_of(spoken(SOUND), lambda partial, name: texts.append(partial.text))
            assert (text.text, name) == (echo(SOUND), "second")
            may_answer.set()
            await has_answered.wait()
            await chain.close()
            assert texts == []


@pytest.mark.parametrize(("denoise", "local_filter"), [("none", unfiltered), ("speex", speex)])
def test_only_the_recogniser_on_this_machine_hears_denoised_sound(
    monkeypatch: pytest.MonkeyPatch, denoise: Literal["none", "speex"], local_filter: object
) -> None:
    filters: dict[str, object] = {}

    def make(name: str, settings: object, environment: Environment) -> Levers:
        filters[name] = environment.filter
        return Levers(name)

    monkeypatch.setattr(flow, "make", make)
    monkeypatch.setattr(suki, "make", make)
    backends: dict[str, Any] = {
        "local": FlowSettings(LOCAL_URL),
        "cloud": FlowSettings("wss://flow.example/ws"),
        "house": FlowSettings("ws://house.example/ws"),
        "suki": SukiSettings("x", Secret("literal", "x")),
    }
    config = Config(
        audio=AudioSettings(denoise=denoise), dictation=DictationSettings(backends=tuple(backends)), backends=backends
    )
    assert len(make_backends(config).backends) == 4
    assert filters == {"local": local_filter, "cloud": unfiltered, "house": unfiltered, "suki": unfiltered}


async def test_a_profile_has_its_own_backends_in_its_own_order() -> None:
    levers = [Levers(name) for name in ("a", "b", "c")]
    orders = {None: ["a"], "own": ["c", "b"]}
    chain = BackendChain(levers, by_profile=orders, probe_s=lambda failures: 3600.0)
    levers[2].error = lambda: LinkError("away")
    for profile, backend in (("own", "b"), (None, "a"), ("not_known", "a")):
        utterance = beginning()
        utterance.choose(profile)
        utterance.append(SOUND)
        utterance.finish(1.0)
        _, name, _ = await chain.text_of(utterance, lambda partial, backend: None)
        assert name == backend
    assert [len(one.asked) for one in levers] == [2, 1, 1]
    await chain.close()
