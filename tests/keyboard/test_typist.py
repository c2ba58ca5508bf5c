"""The typist with a computer that sleeps, wakes up, and is unplugged."""

import asyncio
from collections.abc import Iterator

import pytest

from flowpi.core.errors import KeyboardError
from flowpi.core.typing.strokes import IDLE
from flowpi.keyboard import typist as typists
from flowpi.keyboard.procedure import Ended, Reason
from flowpi.keyboard.typist import Typist
from tests.keyboard.scripted_keyboard import CAPITAL_C, A, B, ScriptedKeyboard
from tests.waiting import until

ASKED = 3


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedKeyboard]:
    monkeypatch.setattr(typists, "LOOK_S", 0.01)
    one = ScriptedKeyboard()
    yield one
    one.close()


@pytest.fixture
def typist(keyboard: ScriptedKeyboard) -> Typist:
    return Typist(keyboard.open, 0.0)


def always() -> bool:
    return True


async def test_what_is_typed_arrives_and_no_key_is_down_at_the_end(keyboard: ScriptedKeyboard, typist: Typist) -> None:
    assert await typist.type([[A], [CAPITAL_C], [B]], always) == Ended(3)
    assert keyboard.typed == [A, CAPITAL_C, B]
    assert keyboard.down == IDLE
    assert not typist.owes


async def test_a_computer_asleep_gets_nothing_now_and_nothing_when_it_wakes_up(
    keyboard: ScriptedKeyboard, typist: Typist
) -> None:
    keyboard.sleep()
    assert await typist.type([[A]], always) == Ended(0, Reason.ASLEEP)
    settling = asyncio.create_task(typist.settled())
    keyboard.wake()
    await settling
    assert keyboard.typed == []
    assert await typist.type([[B]], always) == Ended(1)
    assert keyboard.typed == [B]


@pytest.mark.parametrize("report", range(ASKED + 1, ASKED + 8))
async def test_a_key_that_the_sleep_left_down_goes_up_when_the_computer_wakes_up(
    keyboard: ScriptedKeyboard, typist: Typist, report: int
) -> None:
    keyboard.after[report] = keyboard.sleep
    ended = await typist.type([[CAPITAL_C], [A]], always)
    assert ended.reason is Reason.ASLEEP
    assert typist.owes
    settling = asyncio.create_task(typist.settled())
    await asyncio.sleep(0)
    keyboard.wake()
    await settling
    assert keyboard.down == IDLE
    assert not typist.owes


async def test_with_the_cable_out_nothing_is_typed_and_with_it_in_again_the_next_text_is_complete(
    keyboard: ScriptedKeyboard, typist: Typist
) -> None:
    keyboard.after[ASKED + 2] = keyboard.pull_cable
    assert (await typist.type([[A], [B]], always)).reason is Reason.NO_HOST
    assert await typist.type([[A]], always) == Ended(0, Reason.NO_HOST)
    keyboard.plug_cable()
    await typist.settled()
    assert await typist.type([[B]], always) == Ended(1)
    assert keyboard.typed == [A, B]


async def test_a_device_that_was_made_anew_is_opened_anew(keyboard: ScriptedKeyboard, typist: Typist) -> None:
    await typist.type([[A]], always)
    keyboard.replace()
    assert await typist.type([[B]], always) == Ended(1)
    assert keyboard.opened == 2


async def test_a_device_that_is_missing_is_looked_for_until_it_is_there(
    keyboard: ScriptedKeyboard, typist: Typist
) -> None:
    keyboard.present = False
    with pytest.raises(KeyboardError) as caught:
        await typist.type([[A]], always)
    assert caught.value.reason == Reason.NO_HOST
    settling = asyncio.create_task(typist.settled())
    await until(lambda: not settling.done())
    keyboard.present = True
    await settling
    assert keyboard.opened == 1
    assert keyboard.typed == []


async def test_a_process_that_is_told_to_end_in_the_middle_of_a_stroke_releases_its_keys(
    keyboard: ScriptedKeyboard,
) -> None:
    typist = Typist(keyboard.open, 1000.0)  # it stops at the first moment
    typing = asyncio.create_task(typist.type([[CAPITAL_C]], always))
    await until(lambda: keyboard.down != IDLE)
    typing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await typing
    assert keyboard.down == IDLE


async def test_the_first_thing_is_a_release_as_the_process_of_before_may_have_left_a_key_down(
    keyboard: ScriptedKeyboard, typist: Typist
) -> None:
    assert typist.owes
    await typist.settled()
    assert keyboard.reports == [IDLE, IDLE]
