"""An input device with levers: press, release, repeat, unplug. It has a real descriptor to wait for."""

import errno
import os
import time
from collections import deque
from typing import Any

from evdev import InputEvent, ecodes

from flowpi.panel.evdev import InputDevice

PEDAL = "/dev/input/by-id/pedal"
KEY = "KEY_F13"


class Keyboard:
    """The device at `PEDAL`, plugged in or not. `busy`: another program has grabbed it."""

    def __init__(self) -> None:
        self.plugged_in = True
        self.busy = False
        self.opened = 0
        """How often the device was opened, or tried to be."""
        self.grabbed = 0
        self._held: set[int] = set()
        self._device: _Device | None = None

    def open(self, path: str) -> InputDevice:
        assert path == PEDAL
        self.opened += 1
        if not self.plugged_in:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        self._device = _Device(self)
        return self._device

    def press(self, key: str = KEY) -> None:
        self._send(key, 1)

    def repeat(self, key: str = KEY) -> None:
        self._send(key, 2)

    def release(self, key: str = KEY) -> None:
        self._send(key, 0)

    def overflow(self) -> None:
        """Drop events, as the kernel does if nobody reads them in time."""
        if self._device is not None:
            self._device.events.clear()
            self._device.put(ecodes.EV_SYN, ecodes.SYN_DROPPED, 0)

    def unplug(self) -> None:
        self.plugged_in = False
        self._held.clear()
        if self._device is not None:
            self._device.gone = True
            self._device.wake()
            self._device = None

    def plug_in(self) -> None:
        self.plugged_in = True

    def held(self) -> list[int]:
        return sorted(self._held)

    def _send(self, key: str, value: int) -> None:
        code = ecodes.ecodes[key]
        self._held.discard(code) if value == 0 else self._held.add(code)
        if self._device is not None:
            self._device.put(ecodes.EV_KEY, code, value)
            self._device.put(ecodes.EV_SYN, ecodes.SYN_REPORT, 0)


class _Device:
    def __init__(self, keyboard: Keyboard) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.events: deque[InputEvent] = deque()
        self.gone = False
        self._keyboard = keyboard
        self._open = True

    def put(self, kind: int, code: int, value: int) -> None:
        at = time.monotonic()
        event: Any = InputEvent
        self.events.append(event(int(at), int(at % 1 * 1_000_000), kind, code, value))
        self.wake()

    def wake(self) -> None:
        if self._open:
            os.eventfd_write(self.fd, 1)

    def grab(self) -> None:
        if self._keyboard.busy:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        self._keyboard.grabbed += 1

    def read(self) -> list[InputEvent]:
        if self.gone:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        os.eventfd_read(self.fd)  # BlockingIOError if there is nothing
        events, self.events = list(self.events), deque()
        return events

    def active_keys(self) -> list[int]:
        return self._keyboard.held()

    def close(self) -> None:
        assert self._open
        self._open = False
        os.close(self.fd)
