"""Texts that are typed on a computer with its own kernel: by uinput, and by a USB cable that leads to itself."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flowpi.core.lights import READY
from flowpi.keyboard.layouts import layout
from tests.rig import build, image, store
from tests.rig.kernel_image import kernel
from tests.rig.machine import Machine
from tests.rig.typing.desk import EVENTS, REPORT, Desk
from tests.speech import Recording, word_error_rate
from tests.system.looking import wait_until_seen
from tests.system.talking import FINAL
from tests.system.test_machine import dictate, texts

pytestmark = pytest.mark.vm

SAMPLE = "Hello, World! 0123456789 @#$%^&*()[]{}<>|~`'\"\\"
NINE = [
    ("us", ""),
    ("gb", ""),
    ("de", ""),
    ("fr", ""),
    ("es", ""),
    ("ch", "fr"),
    ("se", ""),
    ("us", "dvorak"),
    ("br", ""),
]
MORE = {"de": "äöüß ÄÖÜ €", "fr": "éèçàù €", "es": "ñ ¿¡ á É", "ch": "éàè ñ", "se": "åäö Å", "br": "ç ã Ê", "gb": "£"}

LONG = "the quick Brown fox jumps Over 13 lazy Dogs. "

JOURNAL = "journalctl --unit=flowpi-keyboard --output=cat"

FURNISHED = "furnished"
"""The saved state of a machine with a keyboard, which has typed nothing yet."""


@pytest.fixture(scope="module", params=["uinput", "hid"])
def kind(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


@pytest.fixture(scope="module")
def desk_work(usable: None, kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    work = tmp_path_factory.mktemp("desk")
    image.copy(build.ready_machine(), work)
    with Machine(kernel(), work).start(image.READY) as machine:
        Desk(machine, kind).furnish(talker=True)
        machine.save(FURNISHED)
    yield work
    store.remove(work)


@pytest.fixture
def desk(kind: str, desk_work: Path) -> Iterator[Desk]:
    """A keyboard that types what the test says."""
    with Machine(kernel(), desk_work).start(FURNISHED) as machine:
        yield Desk(machine, kind)


def only(kind: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("kind", [kind], indirect=True, scope="module")


def presses(text: str, name: str = "us", variant: str = "", end: str = " ") -> int:
    """Return how many keys go down for a text, and what is appended to it."""
    held, count = 0, 0
    for stroke in layout(name, variant).strokes(text + end).strokes:
        count += 1 + (stroke.modifiers & ~held).bit_count()
        held = stroke.modifiers
    return count


def test_a_dictation_is_typed(kind: str, machine: Machine, sentence: Recording) -> None:
    desk = Desk(machine, kind)
    desk.furnish(talker=False)
    wait_until_seen(machine, READY)
    dictate(machine, sentence)
    (text,) = texts(machine.until(FINAL))
    assert word_error_rate(sentence.text, text["text"]) <= 0.25
    desk.until_typed(presses(text["text"]))
    seen = desk.rested()
    assert (seen.text("us"), seen.down, seen.dropped) == (f"{text['text']} ", set(), 0)


def test_nine_layouts(desk: Desk) -> None:
    texts = [(name, variant, SAMPLE + MORE.get(name, "")) for name, variant in NINE]
    desk.type_all(texts)
    seen = desk.rested()
    assert (seen.dropped, seen.down) == (0, set())
    parts = seen.parts([presses(text, name, variant, end="") for name, variant, text in texts])
    typed = [part.text(name, variant) for part, (name, variant, _) in zip(parts, texts, strict=True)]
    assert typed == [text for _, _, text in texts]


def test_thousands_of_characters_at_the_default_pace(desk: Desk, times: Callable[[int, int], int]) -> None:
    characters = times(500, 10_000)
    text = (LONG * (characters // len(LONG) + 1))[: characters - 1]
    desk.say(text)
    done = desk.machine.until(f"{JOURNAL} | grep -o 'typed {characters} characters in .*'", 3600)
    print(f"{desk.kind}: {done}")
    seen = desk.rested()
    assert (seen.text("us"), seen.down, seen.dropped) == (f"{text} ", set(), 0)


def sleeps(desk: Desk) -> Iterator[None]:
    desk.stop_polling()
    yield
    desk.poll_again()


def is_unplugged(desk: Desk) -> Iterator[None]:
    desk.pull_cable()
    yield
    desk.plug_cable()


def loses_its_gadget(desk: Desk) -> Iterator[None]:
    desk.remove_gadget()
    yield
    desk.bring_gadget_back()


def is_deconfigured(desk: Desk) -> Iterator[None]:
    desk.set_configuration(0)
    yield
    desk.set_configuration(1)


@only("hid")
@pytest.mark.parametrize("harm", [sleeps, is_unplugged, loses_its_gadget, is_deconfigured])
def test_a_computer_that_is_away_for_a_while_gets_no_key_late_and_none_stays_down(
    desk: Desk, harm: Callable[[Desk], Iterator[None]]
) -> None:
    text = LONG * 10
    desk.say(text)
    desk.until_typed(20)
    away = harm(desk)
    next(away)
    desk.until_reported('"state": "failing"')
    desk.say("this comes while it is away")
    untyped = desk.until_reported('"typed": 0')["untyped"]
    assert untyped["reason"] in ("asleep", "no_host")
    next(away, None)
    desk.until_open()
    before = desk.rested()
    desk.say("next")
    desk.until_typed(before.presses + presses("next"))
    seen = desk.rested()
    assert seen.down == set()
    begun, end = seen.text("us")[:-5], seen.text("us")[-5:]
    assert end == "next "
    assert 0 < len(begun) < len(text)
    assert text.startswith(begun)


def test_a_typist_that_is_killed_leaves_no_key_down_and_types_nothing_again(desk: Desk) -> None:
    text = LONG * 10
    for round_ in range(2):
        desk.clear()
        desk.say(text)
        desk.until_typed(10)
        desk.machine.sh(f"rm {REPORT}; systemctl kill --signal=KILL flowpi-keyboard")
        desk.until_open()
        seen = desk.rested()
        assert seen.down == set(), round_
        begun = seen.text("us")
        assert text.startswith(begun)
        assert len(begun) < len(text)
        desk.say("next")
        desk.until_typed(seen.presses + presses("next"))
        assert desk.rested().text("us") == f"{begun}next "


def test_a_daemon_that_is_killed_costs_no_key(desk: Desk) -> None:
    text = LONG * 5
    desk.say(text)
    desk.until_typed(10)
    desk.machine.sh(f"rm {REPORT}; systemctl kill --signal=KILL talker")
    desk.until_open()
    desk.say("next")
    desk.until_typed(presses(text) + presses("next"))
    seen = desk.rested()
    assert (seen.text("us"), seen.down) == (f"{text} next ", set())


def test_a_reader_that_stalls_is_left_with_no_key_down(desk: Desk) -> None:
    desk.machine.sh("systemctl kill --signal=STOP reader")
    desk.say(LONG * 5)
    desk.machine.until(f"{JOURNAL} | grep 'typed [0-9]* characters'")
    desk.machine.sh("systemctl kill --signal=CONT reader")
    desk.machine.until(f"grep dropped {EVENTS}")
    assert desk.rested().down == set()
    desk.clear()
    desk.say("next")
    desk.until_typed(presses("next"))
    seen = desk.rested()
    assert (seen.text("us"), seen.down) == ("next ", set())


@only("hid")
def test_cancel_stops_at_the_next_stroke(desk: Desk) -> None:
    text = LONG * 10
    desk.say(text)
    desk.until_typed(10)
    desk.publish("do", "cancel")
    untyped = desk.until_reported("cancelled")["untyped"]
    assert untyped["of"] == len(text) + 1
    seen = desk.rested()
    assert (seen.text("us"), seen.down) == (text[: untyped["typed"]], set())


def test_only_the_keyboards_unit_may_open_the_devices(desk: Desk) -> None:
    node = "/dev/uinput" if desk.kind == "uinput" else "/dev/hidg0"
    rights = desk.machine.sh(f"stat --format='%U %G %a' {node}").strip()
    assert rights == "root flowpi-keyboard 660"
    opening = f"python3 -c 'import os; os.open(\"{node}\", os.O_RDWR | os.O_NONBLOCK)'"
    users = ("flowpi-keyboard", "flowpi", "flowpi-asr", "flowpi-hook")
    tries = [desk.machine.run(f"setpriv --reuid={user} --regid={user} --init-groups {opening}") for user in users]
    assert [done.code == 0 for done in tries] == [True, False, False, False]
