"""The pins of a Raspberry Pi's header, by libgpiod's Python bindings: finds the chip that has them, and requests lines.

The chip is known by its label. Its number says nothing: that of a Pi 5 has changed with the kernel.
"""

import errno
import glob
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, Self

import gpiod
from gpiod.line import Value

from flowpi.core.errors import PanelError

CHIPS = "/dev/gpiochip*"

LABELS = ("pinctrl-rp1", "pinctrl-bcm2711", "pinctrl-bcm2835")
"""The labels of the chip with the header: on a Pi 5, on a Pi 4, and on those before it. Lines have the BCM numbers."""

CONSUMER = "flowpi"
"""The name of the user of a line that `gpioinfo` shows."""

EDGES_KEPT = 128
"""The number of edges that the kernel keeps while the loop is late; then it drops the oldest."""

NOT_HERE = "set button.kind and led.kind to what this machine has, or to none"


class EdgeEvent(Protocol):
    """The used part of a `gpiod.EdgeEvent`."""

    @property
    def event_type(self) -> gpiod.EdgeEvent.Type: ...
    @property
    def timestamp_ns(self) -> int: ...


class Request(Protocol):
    """The used part of a `gpiod.LineRequest`. All methods may raise OSError."""

    @property
    def fd(self) -> int: ...
    def get_value(self, line: int) -> Value: ...
    def set_value(self, line: int, value: Value) -> None: ...
    def reconfigure_lines(self, config: dict[int, gpiod.LineSettings]) -> None: ...
    def read_edge_events(self, max_events: int) -> Sequence[EdgeEvent]: ...
    def release(self) -> None: ...


class ChipInfo(Protocol):
    @property
    def label(self) -> str: ...


class LineInfo(Protocol):
    @property
    def used(self) -> bool: ...
    @property
    def consumer(self) -> str: ...


class Chip(Protocol):
    """The used part of a `gpiod.Chip`. All methods may raise OSError."""

    def get_info(self) -> ChipInfo: ...
    def get_line_info(self, line: int) -> LineInfo: ...
    def request_lines(
        self, config: dict[int, gpiod.LineSettings], consumer: str, event_buffer_size: int
    ) -> Request: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...


def open_kernels(path: str) -> Chip:
    """Open a chip of the kernel. Raises OSError."""
    chip: Any = gpiod.Chip(path)
    opened: Chip = chip
    return opened


class Header:
    """The pins of the header. No chip is kept open: a request for a line has a file descriptor of its own."""

    def __init__(self, paths: str = CHIPS, open_chip: Callable[[str], Chip] = open_kernels) -> None:
        """`paths`: the pattern of the chips' devices. `open_chip`: replaces the kernel in tests."""
        self._paths = paths
        self._open_chip = open_chip

    def request(self, number: int, settings: gpiod.LineSettings) -> Request:
        """Request one line. `number`: the BCM number.

        Raises:
            PanelError: there is no such line, this user may not use it, or another program does.
        """
        with self._open() as chip:
            try:
                return chip.request_lines({number: settings}, consumer=CONSUMER, event_buffer_size=EDGES_KEPT)
            except OSError as error:
                raise _explain(chip, number, error) from error

    def check(self, number: int) -> None:
        """Check that a line is free, without requesting it. Raises PanelError as `request` would."""
        with self._open() as chip:
            if chip.get_line_info(number).used:
                raise _busy(chip, number)

    def _open(self) -> Chip:
        """Open the chip of the header. Raises PanelError."""
        found: dict[str, str] = {}
        refused: OSError | None = None
        for path in sorted(glob.glob(self._paths)):
            try:
                with self._open_chip(path) as chip:
                    found.setdefault(chip.get_info().label, path)
            except OSError as error:
                refused = error
        for label in LABELS:
            if label in found:
                return self._open_chip(found[label])
        if refused is not None:
            raise _refused(refused) from refused
        raise _not_here(found)


def _not_here(found: Mapping[str, str]) -> PanelError:
    if not found:
        return PanelError("there is no GPIO chip here", NOT_HERE)
    others = ", ".join(f"{path} is {label}" for label, path in found.items())
    return PanelError(f"no GPIO chip here is that of a Raspberry Pi's header: {others}", NOT_HERE)


def _refused(error: OSError) -> PanelError:
    hint = "check the pin number, and update the kernel if it is older than 5.10"
    if error.errno in (errno.EACCES, errno.EPERM):
        hint = "the user needs the group of /dev/gpiochip*: sudo usermod --append --groups gpio USER"
    return PanelError(f"the kernel refuses it: {error.strerror or error}", hint)


def _explain(chip: Chip, number: int, error: OSError) -> PanelError:
    return _busy(chip, number) if error.errno == errno.EBUSY else _refused(error)


def _busy(chip: Chip, number: int) -> PanelError:
    holder = chip.get_line_info(number).consumer or "the kernel"
    return PanelError(f"{holder} is using it", "choose another pin, or stop what uses this one (`gpioinfo` shows it)")
