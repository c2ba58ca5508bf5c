"""A row of APA102 or SK9822 LEDs on SPI, as found on microphone boards.

The stream, according to the APA102 data sheet: 32 zero bits; for each LED three 1 bits, its global brightness (5 bits)
and blue, green, red (8 bits each); then clock pulses that push the data through, one for every two LEDs, because each
LED delays the data by half a clock. An SK9822 needs another 32 zero bits before those pulses; an APA102 ignores them.
"""

import math
from collections.abc import Callable
from typing import Any, Protocol

from flowpi.core.errors import PanelError
from flowpi.core.lights import DARK, Color
from flowpi.panel.gpio import NO_LGPIO, library

RATE_HZ = 1_000_000
"""The LEDs could do 20 times as much, but not over loose wires. Three LEDs are written in 0.2 ms."""

GLOBAL_STEPS = 31


class Spi(Protocol):
    def write(self, data: bytes) -> None:
        """Send `data`. This may raise any exception."""

    def close(self) -> None: ...


class Apa102Led:
    """A row of LEDs that all show the same."""

    def __init__(self, bus: int, device: int, count: int, open_spi: Callable[[int, int], Spi] | None = None) -> None:
        """`count`: the number of LEDs. `open_spi`: replaces `LgpioSpi` in tests."""
        self._place = (bus, device)
        self._count = count
        self._open_spi = open_spi or LgpioSpi
        self._spi: Spi | None = None

    def open(self) -> None:
        try:
            self._spi = self._open_spi(*self._place)
        except Exception as error:  # errors of lgpio, and of its import
            raise self._explain(error) from error
        self.set(DARK)

    def set(self, color: Color) -> None:
        try:
            if self._spi is None:
                raise ValueError("it is not open")
            self._spi.write(stream(color, self._count))
        except Exception as error:  # as in `open`
            raise self._explain(error) from error

    def close(self) -> None:
        spi, self._spi = self._spi, None
        if spi is not None:
            try:
                spi.write(stream(DARK, self._count))
            finally:
                spi.close()

    def _explain(self, error: Exception) -> PanelError:
        name = "/dev/spidev{}.{}".format(*self._place)
        hint = "switch SPI on (raspi-config), and check led.spi"
        if isinstance(error, ImportError):
            hint = NO_LGPIO
        return PanelError(f"the LEDs on {name} cannot be used ({type(error).__name__}: {error})", hint)


class LgpioSpi:
    """An SPI device opened by lgpio, which gpiozero uses too. It is imported at the first use."""

    def __init__(self, bus: int, device: int) -> None:
        self._lgpio: Any = library("lgpio")
        self._handle = self._lgpio.spi_open(bus, device, RATE_HZ)

    def write(self, data: bytes) -> None:
        self._lgpio.spi_write(self._handle, data)

    def close(self) -> None:
        self._lgpio.spi_close(self._handle)


def stream(color: Color, count: int) -> bytes:
    """Return the bytes that make `count` LEDs show `color`.

    The global brightness dims as far as it can, because 8 bits a colour leave too few steps at night.
    """
    level = math.ceil(color.brightness * GLOBAL_STEPS)
    parts = (round(part * 255 * GLOBAL_STEPS / level) if level else 0 for part in (color.blue, color.green, color.red))
    led = bytes((0xE0 | level, *parts))
    return bytes(4) + led * count + bytes(4) + bytes(math.ceil(count / 16))
