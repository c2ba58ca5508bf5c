"""The mixer of a codec that is mute after a boot, through the real ALSA library."""

import time
from collections.abc import Callable

import pytest

from flowpi.audio import cards
from flowpi.audio.alsa import AlsaSource
from flowpi.audio.mixer import as_after_boot, open_input
from flowpi.audio.sources import make_source
from flowpi.config.boards import CONTROLS
from flowpi.config.loading import load
from tests.rig.microphone import Microphone
from tests.rig.mixer import TLV320AIC3104, WM8960, Mixer

EITHER = CONTROLS["respeaker-2mic"]

OPEN: dict[str, tuple[int, ...]] = {
    "Capture Volume": (39, 39),
    "Capture Switch": (1, 1),
    "Left Input Mixer Boost Switch": (1,),
    "Right Input Mixer Boost Switch": (1,),
}

Boot = Callable[[dict[str, tuple[int, ...]]], Mixer]


@pytest.fixture
def boot(microphone: Microphone) -> Boot:
    return lambda controls: Mixer(microphone.config_path, controls)


def state(mixer: Mixer, of: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    return {name: mixer[name] for name in of}


def test_the_input_of_a_wm8960_is_opened(boot: Boot) -> None:
    mixer = boot(WM8960)
    assert as_after_boot("codec", EITHER) == ["Left Input Mixer Boost", "Right Input Mixer Boost", "Capture"]
    assert state(mixer, WM8960) == WM8960  # only looked at
    open_input("codec", EITHER)
    assert state(mixer, WM8960) == OPEN
    assert as_after_boot("codec", EITHER) == []


def test_the_other_revision_has_another_control(boot: Boot) -> None:
    mixer = boot(TLV320AIC3104)
    open_input("codec", EITHER)
    assert state(mixer, TLV320AIC3104) == {"PGA Capture Volume": (95, 95)}


def test_what_somebody_has_set_stays(boot: Boot) -> None:
    mixer = boot(
        {**WM8960, "Capture Volume": (23, 20), "Capture Switch": (1, 1), "Left Input Mixer Boost Switch": (1,)}
    )
    open_input("codec", EITHER)
    assert (mixer["Capture Volume"], mixer["Capture Switch"]) == ((23, 20), (1, 1))
    assert mixer["Right Input Mixer Boost Switch"] == (1,)  # this one was as after a boot
    mixer["Capture Volume"] = (10, 10)
    open_input("codec", EITHER)
    assert mixer["Capture Volume"] == (10, 10)


@pytest.mark.parametrize(("name", "value"), [("Capture Volume", (39, 39)), ("Capture Switch", (1, 1))])
def test_a_control_that_lacks_a_part_is_left_alone(boot: Boot, name: str, value: tuple[int, ...]) -> None:
    """A microphone opens without, whatever a driver has made of the control."""
    mixer = boot({name: value})
    assert as_after_boot("codec", EITHER) == []
    open_input("codec", EITHER)
    assert mixer[name] == value


def test_a_card_without_a_mixer_is_no_fault() -> None:
    open_input("hw:7", EITHER)
    assert as_after_boot("hw:7", EITHER) == []


def test_it_is_set_when_the_microphone_is_opened_and_again_after_it_was_lost(
    boot: Boot, microphone: Microphone, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixer = boot(WM8960)
    # In the kernel a card is both: here the names of the two parts are made to agree.
    monkeypatch.setattr("flowpi.audio.mixer.open_input", lambda name, controls: open_input("codec", controls))
    monkeypatch.setattr(cards, "card_of", lambda device: "codec")
    source = AlsaSource("clock", controls=EITHER)
    source.open(time.monotonic())
    assert state(mixer, WM8960) == OPEN
    mixer["Capture Volume"] = (23, 23)
    source.open(time.monotonic())  # at a press: nothing was lost, and nobody looks
    assert mixer["Capture Volume"] == (23, 23)
    microphone.unplug()
    source.close()
    with pytest.raises(Exception, match="No such device"):
        source.open(time.monotonic())
    microphone.plug_in()
    source.open(time.monotonic())
    assert mixer["Capture Volume"] == (39, 39)
    source.close()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (["board=respeaker-2mic"], EITHER),
        (["board=respeaker-2mic-v1"], CONTROLS["respeaker-2mic-v1"]),
        (["board=respeaker-2mic", "audio.device=hw:CARD=wm8960soundcard,DEV=0"], EITHER),
        (["board=i2s-mic"], ()),
        (["board=respeaker-2mic", "audio.device=plughw:CARD=Device"], ()),
        (["audio.device=plughw:CARD=wm8960soundcard"], ()),
    ],
)
def test_it_is_that_of_the_board_alone(settings: list[str], expected: object, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, object] = {}
    monkeypatch.setattr("flowpi.audio.alsa.AlsaSource", lambda device, **options: given.update(options))
    make_source(load(None, settings))
    assert given["controls"] == expected
