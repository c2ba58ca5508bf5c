"""Keys of an input device as the button: a pedal, a dictation microphone or any keyboard, by Linux's evdev.

The device is grabbed, so that its keys do not type as well. Events are read on the event loop, with the time that the
kernel gave them. A missing device is looked for once a second; while it is missing, its keys count as released.
"""

import asyncio
import errno
import fcntl
import importlib
import logging
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from flowpi.core.errors import PanelError
from flowpi.panel.button import Line, OnEdge, OnTrouble

log = logging.getLogger(__name__)

REOPEN_S = 1.0

EV_SYN, EV_KEY, SYN_DROPPED = 0, 1, 3
EVIOCSCLOCKID = 0x400445A0
"""The ioctl that selects the clock of event times, from `linux/input.h`."""

RELEASED, PRESSED = 0, 1  # 2 is the keyboard's own repeat


class InputEvent(Protocol):
    """The used part of an `evdev.InputEvent`."""

    @property
    def type(self) -> int: ...
    @property
    def code(self) -> int: ...
    @property
    def value(self) -> int: ...
    def timestamp(self) -> float: ...


class InputDevice(Protocol):
    """The used part of an `evdev.InputDevice`. All methods may raise OSError."""

    fd: int

    def grab(self) -> None: ...
    def read(self) -> Iterable[InputEvent]: ...
    def active_keys(self) -> list[int]: ...
    def close(self) -> None: ...


class EvdevButton:
    """Keys of one input device, which may come and go."""

    def __init__(
        self,
        path: str,
        keys: Mapping[Line, str],
        on_trouble: OnTrouble,
        open_device: Callable[[str], InputDevice] | None = None,
    ) -> None:
        """
        Args:
            path: preferably one in /dev/input/by-id.
            keys: names from `linux/input-event-codes.h`.
            on_trouble: called when the device is missing, and when it is back.
            open_device: replaces `open_kernels` in tests.
        """
        self._path = path
        self._keys = keys
        self._on_trouble = on_trouble
        self._open_device = open_device or open_kernels
        self._on_edge: OnEdge | None = None
        self._lines: dict[int, Line] = {}
        """The contact of each code."""
        self._device: InputDevice | None = None
        self._pressed: set[Line] = set()
        self._lost = False
        self._timer: asyncio.TimerHandle | None = None

    def open(self, on_edge: OnEdge) -> None:
        """Report edges from now on. A missing device is no error: `on_trouble` is called, and it is looked for.

        Raises:
            PanelError: there is no such key, or the library is missing.
        """
        self._lines = {key_code(key): line for line, key in self._keys.items()}
        self._on_edge = on_edge
        self._try_open()

    def is_pressed(self, line: Line = None) -> bool | None:
        return None  # a key does not bounce

    def close(self) -> None:
        self._on_edge = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._release()

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
                if event.type == EV_KEY and event.code in self._lines:
                    if event.value in (RELEASED, PRESSED):
                        self._change(self._lines[event.code], event.value == PRESSED, event.timestamp())
                elif event.type == EV_SYN and event.code == SYN_DROPPED:  # the kernel has dropped events
                    active = self._device.active_keys()
                    for code, line in self._lines.items():
                        self._change(line, code in active, event.timestamp())
                if self._device is None:  # closed by the callback of the edge
                    return
        except BlockingIOError:
            pass
        except OSError as error:
            self._release()
            for line in tuple(self._pressed):
                self._change(line, False, time.monotonic())
            self._lose(error)

    def _change(self, line: Line, pressed: bool, at: float) -> None:
        if pressed != (line in self._pressed):
            (self._pressed.add if pressed else self._pressed.discard)(line)
            if self._on_edge is not None:
                self._on_edge(line, pressed, at)

    def _lose(self, error: OSError) -> None:
        if self._on_edge is None:  # closed by the callback of the edge
            return
        self._timer = asyncio.get_running_loop().call_later(REOPEN_S, self._try_open)
        if not self._lost:
            self._lost = True
            self._on_trouble(self._explain(error))

    def _release(self) -> None:
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
    """Import the library. Call it on a thread, so that the loop does not have to wait for the import."""
    try:
        _library()
    except PanelError as error:  # `open` raises it again, and it is reported then
        log.debug("%s", error)


def key_code(name: str) -> int:
    """Return the code of a key. Raises PanelError: there is no key of this name, or the library is missing."""
    code = _library().ecodes.ecodes.get(name)
    if not isinstance(code, int):
        raise PanelError(f"there is no key {name!r}", "`evtest DEVICE` shows the names: set button.key to one")
    return code


def open_kernels(path: str) -> InputDevice:
    """Open an input device of the kernel, with monotonic event times. Raises OSError."""
    device = _library().InputDevice(path)
    fcntl.ioctl(device.fd, EVIOCSCLOCKID, struct.pack("i", time.CLOCK_MONOTONIC))
    opened: InputDevice = device
    return opened
