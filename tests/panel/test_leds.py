"""The contract of an LED, for the recording one, those on GPIO pins, and those on SPI."""

import asyncio
import errno
import math
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from flowpi.config import schema
from flowpi.core.errors import PanelError
from flowpi.core.lights import ALL, BLUE, DARK, ORANGE, WHITE, Color
from flowpi.panel import apa102
from flowpi.panel.apa102 import Apa102Led, stream
from flowpi.panel.drivers import make_led
from flowpi.panel.gpio import GpioLed, GpioRgbLed
from flowpi.panel.led import Led, NoLed, RecordingLed
from tests import clock
from tests.panel.board import Board

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
        self,
        led: Led,
        shown: Callable[[], Awaitable[Color]],
        *,
        colors: bool,
        break_it: Callable[[], None] | None = None,
    ) -> None:
        self.led = led
        self.shown = shown
        self.colors = colors
        self.break_it = break_it


@pytest.fixture(params=["recording", "gpio", "rgb", "apa102"])
async def bench(request: pytest.FixtureRequest, board: Board, jumping_clock: clock.JumpingLoop) -> Bench:
    def break_board() -> None:
        board.broken = True

    board.jump(jumping_clock)
    match request.param:
        case "recording":
            levels = [0.0]

            async def last() -> Color:
                return WHITE.dimmed(levels[-1])

            return Bench(RecordingLed(levels.append), last, colors=False)
        case "gpio":

            async def one() -> Color:
                return WHITE.dimmed(await board.brightness(27))

            return Bench(GpioLed(27), one, colors=False, break_it=break_board)
        case "rgb":

            async def three() -> Color:
                return Color(*await asyncio.gather(*map(board.brightness, (5, 6, 13))))

            return Bench(GpioRgbLed((5, 6, 13)), three, colors=True, break_it=break_board)
        case _:
            row = Row()

            async def first() -> Color:
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


async def test_opened_it_is_dark(bench: Bench) -> None:
    bench.led.open()
    assert await bench.shown() == DARK
    bench.led.close()


@pytest.mark.parametrize("factor", [1.0, 0.5, 0.1, 0.01])
async def test_it_shows_what_it_is_told_or_how_bright_that_is(bench: Bench, factor: float) -> None:
    bench.led.open()
    for color in {pattern.color for pattern in ALL}:
        wanted = color.dimmed(factor)
        bench.led.set(wanted)
        assert near(await bench.shown(), wanted if bench.colors else WHITE.dimmed(factor)), color
    bench.led.set(DARK)
    assert await bench.shown() == DARK
    bench.led.close()


async def test_closed_it_is_dark_and_free(bench: Bench) -> None:
    for _ in range(2):
        bench.led.open()
        bench.led.set(WHITE)
        bench.led.close()
        assert await bench.shown() == DARK
        bench.led.close()


@pytest.mark.parametrize("bench", ["gpio", "rgb", "apa102"], indirect=True)  # the recording LED never fails
async def test_what_it_can_not_do_is_told_in_words(bench: Bench) -> None:
    assert bench.break_it is not None
    bench.led.open()
    bench.break_it()
    with pytest.raises(PanelError, match=r"^the LEDs? on .* cannot be used \("):
        bench.led.set(WHITE)
    with pytest.raises(OSError, match="Input/output error"):
        bench.led.close()


def test_without_spi_it_says_what_to_do() -> None:
    with pytest.raises(
        PanelError, match=r"^the LEDs on /dev/spidev9\.9 cannot be used \(FileNotFoundError: "
    ) as caught:
        Apa102Led(9, 9, 1).open()
    assert "switch SPI on (raspi-config)" in caught.value.hint


def test_without_the_right_to_use_spi_it_says_what_to_do() -> None:
    def refuse(bus: int, device: int) -> Row:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with pytest.raises(PanelError, match="PermissionError") as caught:
        Apa102Led(0, 0, 1, refuse).open()
    assert "--groups spi" in caught.value.hint


def test_what_is_no_spi_device_is_closed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apa102, "PATH", f"{tmp_path}/{{}}.{{}}")
    (tmp_path / "0.0").touch()
    before = os.listdir("/proc/self/fd")
    with pytest.raises(PanelError, match="Inappropriate ioctl for device"):
        Apa102Led(0, 0, 1).open()
    assert os.listdir("/proc/self/fd") == before


def test_a_row_that_is_broken_from_the_beginning_is_let_go_of() -> None:
    row = Row()
    row.broken = True
    with pytest.raises(PanelError, match="Input/output error"):
        Apa102Led(0, 1, COUNT, row.open).open()
    assert row.users == 0


def test_a_row_that_breaks_is_let_go_of() -> None:
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
