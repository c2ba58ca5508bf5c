"""A row of APA102 or SK9822 LEDs on SPI, as found on microphone boards.

The stream, according to the APA102 data sheet: 32 zero bits; for each LED three 1 bits, its global brightness (5 bits)
and blue, green, red (8 bits each); then clock pulses that push the data through, one for every two LEDs, because each
LED delays the data by half a clock. An SK9822 needs another 32 zero bits before those pulses; an APA102 ignores them.
"""

import errno
import fcntl
import math
import os
import struct
from collections.abc import Callable
from typing import Protocol

from flowpi.core.errors import PanelError
from flowpi.core.lights import DARK, Color

RATE_HZ = 1_000_000
"""The LEDs could do 20 times as much, but not over loose wires. Three LEDs are written in 0.2 ms."""

MODE = 0
"""The clock rests low, and a bit is read when it rises."""

SPI_IOC_WR_MODE, SPI_IOC_WR_MAX_SPEED_HZ = 0x40016B01, 0x40046B04
"""The ioctls that set both, from `linux/spi/spidev.h`."""

PATH = "/dev/spidev{}.{}"

GLOBAL_STEPS = 31


class Spi(Protocol):
    def write(self, data: bytes) -> None:
        """Send `data`. Raises OSError."""

    def close(self) -> None: ...


class Apa102Led:
    """A row of LEDs that all show the same."""

    def __init__(self, bus: int, device: int, count: int, open_spi: Callable[[int, int], Spi] | None = None) -> None:
        """`count`: the number of LEDs. `open_spi`: replaces `SpiDevice` in tests."""
        self._place = (bus, device)
        self._count = count
        self._open_spi = open_spi or SpiDevice
        self._spi: Spi | None = None

    def open(self) -> None:
        try:
            self._spi = spi = self._open_spi(*self._place)
        except OSError as error:
            raise self._explain(error) from error
        try:
            self.set(DARK)
        except PanelError:
            self._spi = None
            spi.close()
            raise

    def set(self, color: Color) -> None:
        try:
            if self._spi is None:
                raise ValueError("it is not open")
            self._spi.write(stream(color, self._count))
        except (OSError, ValueError) as error:
            raise self._explain(error) from error

    def close(self) -> None:
        spi, self._spi = self._spi, None
        if spi is not None:
            try:
                spi.write(stream(DARK, self._count))
            finally:
                spi.close()

    def _explain(self, error: OSError | ValueError) -> PanelError:
        hint = "switch SPI on (raspi-config), and check led.spi"
        if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM):
            hint = "add the user to the group of the device: sudo usermod --append --groups spi USER"
        name = PATH.format(*self._place)
        return PanelError(f"the LEDs on {name} cannot be used ({type(error).__name__}: {error})", hint)


class SpiDevice:
    """An SPI device of the kernel: https://docs.kernel.org/spi/spidev.html."""

    def __init__(self, bus: int, device: int) -> None:
        """Raises OSError."""
        self._fd = os.open(PATH.format(bus, device), os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.ioctl(self._fd, SPI_IOC_WR_MODE, struct.pack("B", MODE))
            fcntl.ioctl(self._fd, SPI_IOC_WR_MAX_SPEED_HZ, struct.pack("I", RATE_HZ))
        except OSError:
            os.close(self._fd)
            raise

    def write(self, data: bytes) -> None:
        os.write(self._fd, data)

    def close(self) -> None:
        os.close(self._fd)


def stream(color: Color, count: int) -> bytes:
    """Return the bytes that make `count` LEDs show `color`.

    The global brightness dims as far as it can, because 8 bits a colour leave too few steps at night.
    """
    level = math.ceil(color.brightness * GLOBAL_STEPS)
    parts = (round(part * 255 * GLOBAL_STEPS / level) if level else 0 for part in (color.blue, color.green, color.red))
    led = bytes((0xE0 | level, *parts))
    return bytes(4) + led * count + bytes(4) + bytes(math.ceil(count / 16))
