"""Texts that are typed on a computer with its own kernel: by uinput, and by a USB cable that leads to itself."""

from collections.abc import Callable, Iterator

import pytest

from flowpi.core.lights import READY
from flowpi.keyboard.layouts import layout
from tests.rig.machine import Machine
from tests.rig.typing.desk import Desk
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
CHARACTERS = 10_000


@pytest.fixture(params=["uinput", "hid"])
def desk(request: pytest.FixtureRequest, machine: Machine) -> Desk:
    return Desk(machine, request.param)


@pytest.fixture
def cabled(machine: Machine) -> Desk:
    desk = Desk(machine, "hid")
    desk.configure()
    return desk


def presses(text: str, name: str = "us", variant: str = "") -> int:
    """Return how many keys go down for a text, a space after it included."""
    held, count = 0, 0
    for stroke in layout(name, variant).strokes(f"{text} ").strokes:
        count += 1 + (stroke.modifiers & ~held).bit_count()
        held = stroke.modifiers
    return count


def test_a_dictation_is_typed(desk: Desk, sentence: Recording) -> None:
    machine = desk.machine
    desk.configure(talker=False)
    wait_until_seen(machine, READY)
    dictate(machine, sentence)
    (text,) = texts(machine.until(FINAL))
    assert word_error_rate(sentence.text, text["text"]) <= 0.25
    desk.until_typed(presses(text["text"]))
    seen = desk.seen()
    assert (seen.text("us"), seen.down, seen.dropped) == (f"{text['text']} ", set(), 0)
    (sink,) = (one for one in texts(machine.sh("flowpi status --json"))[0]["sinks"] if one["name"] == "keyboard")
    assert sink["state"] == "open"


def test_nine_layouts(desk: Desk) -> None:
    desk.configure()
    for name, variant in NINE:
        text = SAMPLE + MORE.get(name, "")
        desk.machine.sh(": > /run/typing/events")
        desk.configure(layout=name, variant=variant or None)
        desk.say(text)
        desk.until_typed(presses(text, name, variant))
        seen = desk.seen()
        assert (seen.dropped, seen.down) == (0, set())
        assert seen.text(name, variant) == f"{text} ", (name, variant)


def test_ten_thousand_characters_at_the_default_pace(desk: Desk, measured: Callable[..., None]) -> None:
    desk.configure(max_age_s=3600)
    text = (LONG * (CHARACTERS // len(LONG) + 1))[: CHARACTERS - 1]
    began = float(desk.machine.sh("cut -d' ' -f1 /proc/uptime"))
    desk.say(text)
    desk.machine.until("journalctl --unit=flowpi-keyboard | grep 'typed [0-9]* characters'", 3600)
    took_s = float(desk.machine.sh("cut -d' ' -f1 /proc/uptime")) - began
    desk.until_typed(presses(text))
    seen = desk.seen()
    assert (seen.text("us"), seen.down, seen.dropped) == (f"{text} ", set(), 0)
    print(f"{desk.kind}: {CHARACTERS} characters in {took_s:.0f} s, {CHARACTERS / took_s:.0f} a second")


def sleeps(desk: Desk) -> Iterator[None]:
    desk.stop_polling()
    yield
    desk.poll_again()


def is_unplugged(desk: Desk) -> Iterator[None]:
    desk.pull_cable()
    yield
    desk.plug_cable()


def is_deconfigured(desk: Desk) -> Iterator[None]:
    desk.set_configuration(0)
    yield
    desk.set_configuration(1)


@pytest.mark.parametrize("harm", [sleeps, is_unplugged, is_deconfigured])
def test_a_computer_that_is_away_for_a_while_gets_no_key_late_and_none_stays_down(
    cabled: Desk, harm: Callable[[Desk], Iterator[None]]
) -> None:
    cabled.say(LONG * 4)
    cabled.machine.until("test $(grep -c ' 1$' /run/typing/events) -ge 20")
    away = harm(cabled)
    next(away)
    cabled.machine.until("""grep '"state": *"failing"' /run/typing/report""")
    cabled.say("this comes while it is away")
    cabled.machine.until("""grep '"typed": *0' /run/typing/report""")
    assert cabled.report["untyped"]["reason"] in ("asleep", "no_host")
    next(away, None)
    cabled.until_open()
    before = cabled.seen()
    cabled.say("next")
    cabled.until_typed(sum(down for _, down in before.events) + presses("next"))
    seen = cabled.seen()
    assert seen.down == set()
    text = seen.text("us")
    assert text.endswith("next ")
    begun = text.removesuffix("next ")
    assert 0 < len(begun) < len(LONG * 4)
    assert (LONG * 4).startswith(begun)


def test_a_typist_that_is_killed_leaves_no_key_down_and_types_nothing_again(desk: Desk) -> None:
    desk.configure()
    machine = desk.machine
    for round_ in range(5):
        machine.sh(": > /run/typing/events")
        desk.say(LONG * 2)
        machine.until("test $(grep -c ' 1$' /run/typing/events) -ge 10")
        machine.sh("rm /run/typing/report; systemctl kill --signal=KILL flowpi-keyboard")
        desk.until_open()
        machine.until("tail -c 4000 /run/typing/events | grep ' 0$'")
        seen = desk.seen()
        assert seen.down == set(), round_
        begun = seen.text("us")
        assert (LONG * 2).startswith(begun)
        assert len(begun) < len(LONG * 2)
        desk.say("next")
        desk.until_typed(sum(down for _, down in seen.events) + presses("next"))
        assert desk.seen().text("us") == f"{begun}next "


def test_a_daemon_that_is_killed_costs_no_key(desk: Desk) -> None:
    desk.configure()
    desk.say(LONG * 2)
    desk.machine.until("test $(grep -c ' 1$' /run/typing/events) -ge 10")
    desk.machine.sh("systemctl kill --signal=KILL talker; systemctl reset-failed talker || true")
    desk.until_typed(presses(LONG * 2))
    desk.machine.sh("rm -f /run/typing/report")
    desk.start_talker()
    desk.until_open()
    desk.say("next")
    desk.until_typed(presses(LONG * 2) + presses("next"))
    seen = desk.seen()
    assert (seen.text("us"), seen.down) == (f"{LONG * 2} next ", set())


def test_a_reader_that_stalls_is_left_with_no_key_down(desk: Desk) -> None:
    desk.configure()
    desk.machine.sh("systemctl kill --signal=STOP reader")
    desk.say(LONG * 3)
    desk.machine.until("journalctl --unit=flowpi-keyboard | grep 'typed [0-9]* characters'")
    desk.machine.sh("systemctl kill --signal=CONT reader")
    desk.machine.until("grep dropped /run/typing/events")
    desk.machine.sh(": > /run/typing/events")
    desk.say("next")
    desk.until_typed(presses("next"))
    seen = desk.seen()
    assert (seen.text("us"), seen.down) == ("next ", set())


def test_cancel_stops_at_the_next_stroke(cabled: Desk) -> None:
    cabled.say(LONG * 4)
    cabled.machine.until("test $(grep -c ' 1$' /run/typing/events) -ge 10")
    cabled.publish("do", "cancel")
    cabled.machine.until("grep cancelled /run/typing/report")
    seen = cabled.seen()
    assert seen.down == set()
    untyped = cabled.report["untyped"]
    assert untyped["of"] == len(LONG * 4) + 1
    assert len(seen.text("us")) == untyped["typed"]


def test_only_the_keyboards_unit_may_open_the_devices(desk: Desk) -> None:
    desk.configure()
    node = "/dev/uinput" if desk.kind == "uinput" else "/dev/hidg0"
    rights = desk.machine.sh(f"stat --format='%U %G %a' {node}").strip()
    assert rights == "root flowpi-keyboard 660"
    opening = f"python3 -c 'import os; os.open(\"{node}\", os.O_RDWR | os.O_NONBLOCK)'"
    for user in ("flowpi", "flowpi-asr", "flowpi-hook"):
        assert desk.machine.run(f"setpriv --reuid={user} --regid={user} --init-groups -- {opening}").code != 0
