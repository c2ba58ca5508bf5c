"""A keyboard of another computer: the kernel's USB gadget, which `gadget.py` makes.

Source: https://docs.kernel.org/usb/gadget_hid.html, and what its writes were seen to do: `procedure.py` is the theory.
"""

import contextlib
import os

from flowpi.core.typing.strokes import Stroke
from flowpi.core.typing.usages import LED_CAPS_LOCK, report
from flowpi.keyboard.output import explained
from flowpi.keyboard.procedure import Wrote

PATH = "/dev/hidg0"


class HidGadget:
    """The device, while it is open. Its `Output` is complete."""

    def __init__(self, path: str = PATH) -> None:
        """Raises KeyboardError."""
        self._path = path
        try:
            # A write that waited would wait for ever when the computer has gone to sleep, or the cable is out.
            self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            missing = "it is there when this machine can be a USB device: see `flowpi doctor` and docs/typing.md"
            raise explained(path, error, missing, "flowpi-keyboard") from error
        self._leds = 0

    def fileno(self) -> int:
        return self._fd

    def write(self, down: Stroke) -> Wrote:
        data = report(down)
        try:
            return Wrote.TAKEN if os.write(self._fd, data) == len(data) else Wrote.NOBODY
        except BlockingIOError:
            return Wrote.FULL
        except OSError:  # ESHUTDOWN: no computer, or it has switched the keyboard off
            return Wrote.NOBODY

    def caps_lock(self) -> bool:
        # The kernel queues a report for each change; the first is the state when the computer found the keyboard.
        with contextlib.suppress(OSError):  # nothing more is there to be read
            while data := os.read(self._fd, 8):
                self._leds = data[0]
        return bool(self._leds & LED_CAPS_LOCK)

    def is_current(self) -> bool:
        with contextlib.suppress(OSError):
            there, mine = os.stat(self._path), os.fstat(self._fd)
            return (there.st_dev, there.st_ino, there.st_rdev) == (mine.st_dev, mine.st_ino, mine.st_rdev)
        return False

    def close(self) -> None:
        os.close(self._fd)
