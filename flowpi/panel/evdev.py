"""A key of an input device as the button: a pedal, a dictation microphone, any keyboard. By Linux's evdev.

The device is grabbed, so that its keys do not also type. Events are read on the event loop, with the kernel's own time
of each. A device that is not there is looked for once a second; while it is gone its key counts as released.
"""

import asyncio
import errno
import fcntl
import importlib
import logging
import struct
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from flowpi.core.errors import PanelError
from flowpi.panel.button import OnEdge, OnTrouble

log = logging.getLogger(__name__)

REOPEN_S = 1.0

EV_SYN, EV_KEY, SYN_DROPPED = 0, 1, 3
EVIOCSCLOCKID = 0x400445A0
"""`linux/input.h`: which clock the times of events are of."""

RELEASED, PRESSED = 0, 1  # and 2 is the keyboard's own repeat


class InputEvent(Protocol):
    """An `evdev.InputEvent`."""

    @property
    def type(self) -> int: ...
    @property
    def code(self) -> int: ...
    @property
    def value(self) -> int: ...
    def timestamp(self) -> float: ...


class InputDevice(Protocol):
    """What is used of an `evdev.InputDevice`. All may raise OSError."""

    fd: int

    def grab(self) -> None: ...
    def read(self) -> Iterable[InputEvent]: ...
    def active_keys(self) -> list[int]: ...
    def close(self) -> None: ...


class EvdevButton:
    def __init__(
        self, path: str, key: str, on_trouble: OnTrouble, open_device: Callable[[str], InputDevice] | None = None
    ) -> None:
        """`path`: best one of /dev/input/by-id. `key`: a name of `linux/input-event-codes.h`. `open_device`: instead of
        the kernel's."""
        self._path = path
        self._key = key
        self._on_trouble = on_trouble
        self._open_device = open_device or open_kernels
        self._on_edge: OnEdge | None = None
        self._code = 0
        self._device: InputDevice | None = None
        self._pressed = False
        self._lost = False
        self._timer: asyncio.TimerHandle | None = None

    def open(self, on_edge: OnEdge) -> None:
        """A device that is not there is no error: `on_trouble` is told, and it is looked for.

        Raises:
            PanelError: no such key, or the library is missing.
        """
        self._code = key_code(self._key)
        self._on_edge = on_edge
        self._try_open()

    def is_pressed(self) -> bool | None:
        return None  # a key does not bounce

    def close(self) -> None:
        self._on_edge = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._let_go()

    def _try_open(self) -> None:
        self._timer = None
        try:
            device = self._open_device(self._path)
            try:
                device.grab()
            except OSError:
                device.close()
                raise
        except OSError as error:
            self._lose(error)
            return
        self._device = device
        asyncio.get_running_loop().add_reader(device.fd, self._read)
        if self._lost:
            self._lost = False
            log.info("%r is back", self._path)
            self._on_trouble(None)

    def _read(self) -> None:
        assert self._device is not None
        try:
            for event in self._device.read():
                if event.type == EV_KEY and event.code == self._code:
                    if event.value in (RELEASED, PRESSED):
                        self._change(event.value == PRESSED, event.timestamp())
                elif event.type == EV_SYN and event.code == SYN_DROPPED:  # too many for the kernel: some are lost
                    self._change(self._code in self._device.active_keys(), event.timestamp())
                if self._device is None:  # closed by what the edge brought about
                    return
        except BlockingIOError:
            pass
        except OSError as error:
            self._let_go()
            self._change(False, time.monotonic())
            self._lose(error)

    def _change(self, pressed: bool, at: float) -> None:
        if pressed != self._pressed:
            self._pressed = pressed
            if self._on_edge is not None:
                self._on_edge(pressed, at)

    def _lose(self, error: OSError) -> None:
        if self._on_edge is None:  # closed by what the edge brought about
            return
        self._timer = asyncio.get_running_loop().call_later(REOPEN_S, self._try_open)
        if not self._lost:
            self._lost = True
            self._on_trouble(self._explain(error))

    def _let_go(self) -> None:
        device, self._device = self._device, None
        if device is not None:
            asyncio.get_running_loop().remove_reader(device.fd)
            device.close()

    def _explain(self, error: OSError) -> PanelError:
        hint = "plug it in, or see /dev/input/by-id and set button.device"
        if error.errno in (errno.EACCES, errno.EPERM):
            hint = "let the service use it: `sudo systemctl edit flowpi`, [Service], SupplementaryGroups=input"
        elif error.errno == errno.EBUSY:
            hint = "another program has grabbed it: stop that one"
        return PanelError(f"the button {self._path} cannot be used ({error.strerror or error})", hint)


def _library() -> Any:
    try:
        return importlib.import_module("evdev")
    except ImportError as error:
        hint = "install the Debian package of flowpi, or: pip install evdev"
        raise PanelError(f"button.kind evdev needs the package evdev ({error})", hint) from error


def preload() -> None:
    """Import the library on a thread, so that the loop does not."""
    try:
        _library()
    except PanelError as error:  # it is raised again in `open`, and told
        log.debug("%s", error)


def key_code(name: str) -> int:
    """Raises PanelError: there is none of this name, or the library is missing."""
    code = _library().ecodes.ecodes.get(name)
    if not isinstance(code, int):
        raise PanelError(f"there is no key {name!r}", "`evtest DEVICE` shows the names: set button.key to one")
    return code


def open_kernels(path: str) -> InputDevice:
    """Raises OSError."""
    device = _library().InputDevice(path)
    fcntl.ioctl(device.fd, EVIOCSCLOCKID, struct.pack("i", time.CLOCK_MONOTONIC))
    opened: InputDevice = device
    return opened
