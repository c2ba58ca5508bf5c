"""A keyboard of this machine itself, by the kernel's uinput: https://docs.kernel.org/input/uinput.html.

The device is made when it is opened and stays as long as it is open: a desktop needs a moment to open a new keyboard,
and would miss the first characters. The kernel releases its keys when it is closed, also by a crash.
"""

import contextlib
import fcntl
import os
import struct
from collections.abc import Callable

from flowpi.core.typing.strokes import IDLE, Stroke
from flowpi.keyboard.output import explained
from flowpi.keyboard.procedure import Wrote

PATH = "/dev/uinput"

NAME, BUS_VIRTUAL, VENDOR, PRODUCT, VERSION = "flowpi keyboard", 0x06, 0x1D6B, 0x0104, 1
"""What desktops know it by, which may have a layout for each keyboard: it must stay."""

UI_DEV_CREATE, UI_DEV_SETUP = 0x5501, 0x405C5503
UI_SET_EVBIT, UI_SET_KEYBIT, UI_SET_LEDBIT = 0x40045564, 0x40045565, 0x40045569
"""The ioctls, from `linux/uinput.h`."""

EV_SYN, EV_KEY, EV_LED = 0x00, 0x01, 0x11
LED_CAPS_LOCK, LEDS = 1, 3
KEYS = range(1, 128)
"""udev takes only a device with all of the main block for a keyboard. No EV_REP: the kernel must not repeat."""

EVENT = struct.Struct("llHHi")
SETUP = struct.Struct("HHHH80sI")


class Uinput:
    """The device, which is made here. Its `Output` is complete."""

    def __init__(self, path: str = PATH, ioctl: Callable[..., object] = fcntl.ioctl) -> None:
        """
        Args:
            ioctl: replaces the kernel's in tests.

        Raises:
            KeyboardError: it cannot be made.
        """
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            missing = "the kernel needs the module uinput: `sudo modprobe uinput`"
            raise explained(path, error, missing, "flowpi-keyboard") from error
        try:
            for kind in (EV_KEY, EV_LED):
                ioctl(self._fd, UI_SET_EVBIT, kind)
            for code in KEYS:
                ioctl(self._fd, UI_SET_KEYBIT, code)
            for led in range(LEDS):
                ioctl(self._fd, UI_SET_LEDBIT, led)
            ioctl(self._fd, UI_DEV_SETUP, SETUP.pack(BUS_VIRTUAL, VENDOR, PRODUCT, VERSION, NAME.encode(), 0))
            ioctl(self._fd, UI_DEV_CREATE)
        except OSError as error:
            os.close(self._fd)
            raise explained(
                path, error, "the kernel makes no keyboard of it: see `dmesg`", "flowpi-keyboard"
            ) from error
        self._down = IDLE
        self._caps_lock = False

    def fileno(self) -> int:
        return self._fd

    def write(self, down: Stroke) -> Wrote:
        if not (written := events(self._down, down)):
            return Wrote.TAKEN
        try:
            os.write(self._fd, written)
        except BlockingIOError:
            return Wrote.FULL
        except OSError:
            return Wrote.NOBODY
        self._down = down
        return Wrote.TAKEN

    def caps_lock(self) -> bool:
        with contextlib.suppress(OSError):  # nothing more is there to be read
            while data := os.read(self._fd, 64 * EVENT.size):
                for _, _, kind, code, value in EVENT.iter_unpack(data):
                    if (kind, code) == (EV_LED, LED_CAPS_LOCK):
                        self._caps_lock = bool(value)
        return self._caps_lock

    def is_current(self) -> bool:
        return True

    def close(self) -> None:
        os.close(self._fd)


def events(before: Stroke, after: Stroke) -> bytes:
    """Return the events by which the keys that are down change, as one group; empty if none does."""
    was, is_ = before.down(), after.down()
    changes = [*((code, 0) for code in sorted(was - is_)), *((code, 1) for code in sorted(is_ - was))]
    group = [EVENT.pack(0, 0, EV_KEY, code, value) for code, value in changes]
    return b"".join([*group, EVENT.pack(0, 0, EV_SYN, 0, 0)]) if group else b""
