"""The editing of a text on its way: once, from what the backend gave, and at no risk for it or for the next one."""

import asyncio
from pathlib import Path

import pytest

from flowpi.audio.utterance import About, PartId
from flowpi.wire.roles import FinalText
from tests.backends.fake_backend import FakeBackend
from tests.delivery.test_delivery import SOUND, DeliveryHarness, make_backend, speak
from tests.sound import echo, ulid
from tests.waiting import ticks, until

EDITED = f"[{echo(SOUND)}]"


class Brackets:
    """Puts a text into brackets.

    Attributes:
        asked: the texts that came, with `late`.
        slow: the parts whose texts wait for `go`.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, bool]] = []
        self.slow: set[PartId] = set()
        self.go = asyncio.Event()

    async def edit(self, text: FinalText, about: About, *, late: bool) -> FinalText:
        self.asked.append((text.text, late))
        if PartId(about.id, about.part) in self.slow:
            await self.go.wait()
        return FinalText(f"[{text.text}]", text.language)


@pytest.fixture
def harness(tmp_path: Path) -> DeliveryHarness:
    return DeliveryHarness(tmp_path / "spool")


@pytest.fixture
async def editor() -> Brackets:
    return Brackets()


def texts(harness: DeliveryHarness) -> list[str]:
    return [text.text for text in harness.audience.texts]


async def test_it_is_edited_once_however_often_the_disk_refuses_it(harness: DeliveryHarness, editor: Brackets) -> None:
    async with FakeBackend() as backend, harness.life(make_backend(backend.url), editor=editor) as delivery:
        harness.audience.full = True
        utterance = speak(delivery)
        await harness.audience.until(lambda: harness.audience.said.count(("not published", utterance.id)) > 2)
        harness.audience.full = False
        await harness.audience.hears("delivered", utterance.id)
    assert texts(harness) == [EDITED]
    assert editor.asked == [(echo(SOUND), False)]


async def test_the_sound_stays_while_it_is_edited_and_the_next_dictation_does_not_wait(
    harness: DeliveryHarness, editor: Brackets
) -> None:
    async with FakeBackend() as backend, harness.life(make_backend(backend.url), editor=editor) as delivery:
        editor.slow = {PartId(ulid(1))}
        first = speak(delivery, ulid(1))
        await asked(editor, 1)
        second = speak(delivery, ulid(2))
        await harness.audience.hears("delivered", second.id)
        assert first.durable is not None
        assert await first.durable
        assert first.id in harness.files()
        assert harness.audience.of(first.id) == []
        editor.go.set()
        await harness.audience.hears("delivered", first.id)
        await harness.cleared()
    assert harness.audience.kept_when_published[1:] == [True]  # the second one may be faster than its file


async def test_an_end_while_it_is_edited_costs_no_text(harness: DeliveryHarness, editor: Brackets) -> None:
    """As a kill: the next run finds the sound, asks again, and edits what comes."""
    async with FakeBackend() as backend:
        async with harness.life(make_backend(backend.url), editor=editor) as delivery:
            editor.slow = {PartId(ulid(1))}
            speak(delivery, ulid(1))
            await asked(editor, 1)
        assert harness.files() == [ulid(1)]
        editor.slow = set()
        async with harness.life(make_backend(backend.url), editor=editor):
            await harness.audience.hears("delivered", ulid(1))
            await harness.cleared()
    assert texts(harness) == [EDITED]
    assert editor.asked == [(echo(SOUND), False), (echo(SOUND), True)]


async def test_one_that_is_dropped_while_it_is_edited_is_not_published(
    harness: DeliveryHarness, editor: Brackets
) -> None:
    async with FakeBackend() as backend:
        for number, late in ((1, False), (2, True)):
            part = PartId(ulid(number))
            editor.slow = {part}
            async with harness.life(make_backend(backend.url), editor=editor) as delivery:
                speak(delivery, ulid(number))
                await asked(editor, len(editor.asked) + 1)
                if not late:
                    delivery.drop(part)
                    await harness.cleared()
            if late:
                async with harness.life(make_backend(backend.url), editor=editor) as delivery:
                    await asked(editor, len(editor.asked) + 1)
                    delivery.drop(part)
                    editor.go.set()
                    await harness.cleared()
                    await ticks()
            assert texts(harness) == []
    assert [late for _, late in editor.asked] == [False, False, True]


async def asked(editor: Brackets, times: int) -> None:
    await until(lambda: len(editor.asked) >= times)
