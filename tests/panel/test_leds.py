"""The contract of an LED, for the recording one, those on GPIO pins, and those on SPI."""

import math
from collections.abc import Callable

import pytest
from gpiozero.pins.mock import MockFactory

from flowpi.config import schema
from flowpi.core.errors import PanelError
from flowpi.core.lights import ALL, BLUE, DARK, ORANGE, WHITE, Color
from flowpi.panel.apa102 import Apa102Led, stream
from flowpi.panel.drivers import make_led
from flowpi.panel.gpio import GpioLed, GpioRgbLed
from flowpi.panel.led import Led, NoLed, RecordingLed

COUNT = 3


class Row:
    """APA102 LEDs that decode the stream strictly according to their data sheet."""

    def __init__(self) -> None:
        self.leds = [DARK] * COUNT
        self.broken = False
        self.users = 0

    def open(self, bus: int, device: int) -> "Row":
        assert (bus, device) == (0, 1)
        self.users += 1
        return self

    def write(self, data: bytes) -> None:
        if self.broken:
            raise OSError(5, "Input/output error")
        assert data[:4] == bytes(4)
        frames, end = data[4 : 4 + 4 * COUNT], data[4 + 4 * COUNT :]
        assert len(end) * 8 >= 32 + COUNT / 2
        assert not any(end)
        for at in range(COUNT):
            head, blue, green, red = frames[4 * at : 4 * at + 4]
            assert head >> 5 == 0b111
            scale = (head & 31) / 31 / 255
            self.leds[at] = Color(red * scale, green * scale, blue * scale)

    def close(self) -> None:
        self.users -= 1


class Bench:
    """A driver, what its LED shows, and whether it shows colours. `break_it` makes the hardware fail, if it can."""

    def __init__(
        self, led: Led, shown: Callable[[], Color], *, colors: bool, break_it: Callable[[], None] | None = None
    ) -> None:
        self.led = led
        self.shown = shown
        self.colors = colors
        self.break_it = break_it


@pytest.fixture(params=["recording", "gpio", "rgb", "apa102"])
def bench(request: pytest.FixtureRequest, pins: MockFactory) -> Bench:
    def level(pin: int) -> float:
        return float(pins.pin(pin).state) if pins.pin(pin).function == "output" else 0.0

    match request.param:
        case "recording":
            shown = [0.0]
            return Bench(RecordingLed(shown.append), lambda: WHITE.dimmed(shown[-1]), colors=False)
        case "gpio":
            return Bench(GpioLed(27), lambda: WHITE.dimmed(level(27)), colors=False)
        case "rgb":
            return Bench(GpioRgbLed((5, 6, 13)), lambda: Color(level(5), level(6), level(13)), colors=True)
        case _:
            row = Row()

            def first() -> Color:
                assert len(set(map(repr, row.leds))) == 1
                return row.leds[0]

            def break_it() -> None:
                row.broken = True

            return Bench(Apa102Led(0, 1, COUNT, row.open), first, colors=True, break_it=break_it)


def near(one: Color, other: Color) -> bool:
    """Compare to the accuracy of the hardware's steps."""
    return all(
        math.isclose(getattr(one, part), getattr(other, part), abs_tol=1 / 255) for part in ("red", "green", "blue")
    )


def test_opened_it_is_dark(bench: Bench) -> None:
    bench.led.open()
    assert bench.shown() == DARK
    bench.led.close()


@pytest.mark.parametrize("factor", [1.0, 0.5, 0.1, 0.01])
def test_it_shows_what_it_is_told_or_how_bright_that_is(bench: Bench, factor: float) -> None:
    bench.led.open()
    for color in {pattern.color for pattern in ALL}:
        wanted = color.dimmed(factor)
        bench.led.set(wanted)
        assert near(bench.shown(), wanted if bench.colors else WHITE.dimmed(factor)), color
    bench.led.set(DARK)
    assert bench.shown() == DARK
    bench.led.close()


def test_closed_it_is_dark_and_free(bench: Bench) -> None:
    for _ in range(2):
        bench.led.open()
        bench.led.set(WHITE)
        bench.led.close()
        assert bench.shown() == DARK
        bench.led.close()


@pytest.mark.parametrize("bench", ["gpio", "rgb", "apa102"], indirect=True)  # the recording LED never fails
def test_what_it_can_not_do_is_told_in_words(bench: Bench) -> None:
    bench.led.open()
    if bench.break_it:
        bench.break_it()
    with pytest.raises(PanelError, match=r"^the LEDs? on .* cannot be used \("):
        bench.led.set(WHITE.dimmed(7.0))
    if bench.break_it is None:
        bench.led.close()


def test_pins_in_use_are_told_in_words(pins: MockFactory) -> None:
    first = GpioRgbLed((5, 6, 13))
    first.open()
    with pytest.raises(PanelError, match=r"^the LED on GPIO 19, 6, 26 cannot be used \(GPIOPinInUse: "):
        GpioRgbLed((19, 6, 26)).open()
    first.close()


def test_without_spi_or_its_library_it_says_what_to_do() -> None:
    with pytest.raises(PanelError, match=r"^the LEDs on /dev/spidev9\.9 cannot be used \(") as caught:
        Apa102Led(9, 9, 1).open()
    missing = isinstance(caught.value.__cause__, ImportError)
    assert ("pip install lgpio" if missing else "switch SPI on (raspi-config)") in caught.value.hint


def test_a_row_that_breaks_is_let_go_of(pins: MockFactory) -> None:
    row = Row()
    led = Apa102Led(0, 1, COUNT, row.open)
    led.open()
    row.broken = True
    with pytest.raises(OSError, match="Input/output error"):
        led.close()
    led.close()
    assert row.users == 0


@pytest.mark.parametrize(
    ("color", "count", "wanted"),
    [
        (DARK, 1, "00000000 e0000000 00000000 00"),
        (WHITE, 1, "00000000 ffffffff 00000000 00"),
        (ORANGE, 2, "00000000 ff0059ff ff0059ff 00000000 00"),
        (BLUE.dimmed(0.1), 1, "00000000 e4c63b00 00000000 00"),
        (DARK, 16, "00000000" + "e0000000" * 16 + "00000000 00"),
        (DARK, 17, "00000000" + "e0000000" * 17 + "00000000 0000"),
    ],
)
def test_the_stream_is_that_of_the_data_sheet(color: Color, count: int, wanted: str) -> None:
    assert stream(color, count) == bytes.fromhex(wanted)


def test_the_configuration_chooses() -> None:
    assert isinstance(make_led(schema.LedSettings()), GpioLed)
    assert isinstance(make_led(schema.LedSettings(kind="rgb", pins=(5, 6, 13))), GpioRgbLed)
    assert isinstance(make_led(schema.LedSettings(kind="apa102", spi=(0, 1), count=3)), Apa102Led)
    assert isinstance(make_led(schema.LedSettings(kind="none")), NoLed)
