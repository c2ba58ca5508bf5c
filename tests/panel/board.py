"""A board without a kernel: its GPIO chips have real file descriptors, and levers.

What a chip does is what Linux does: a line belongs to one request, edges are kept until they are read, each readable
by its own, and a request is readable as long as one is left.
"""

import asyncio
import errno
import os
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import gpiod
from gpiod.line import Bias, Direction, Edge, Value
from gpiozero import Device

from flowpi.panel.header import LABELS, Chip, Header
from flowpi.panel.pins import LoopFactory
from tests.clock import JumpingLoop

LINES = 28


@dataclass
class Event:
    event_type: gpiod.EdgeEvent.Type
    timestamp_ns: int


@dataclass
class Info:
    label: str


@dataclass
class Line:
    used: bool = False
    consumer: str = ""
    driven: bool | None = None
    """The level from outside, or None for what the pull makes of it."""
    settings: gpiod.LineSettings = field(default_factory=gpiod.LineSettings)
    output: bool = False
    changes: list[tuple[float, bool]] = field(default_factory=list)
    """The changes as an output: by whichever clock the board has."""

    @property
    def level(self) -> bool:
        if self.used and self.settings.direction == Direction.OUTPUT:
            return self.output
        return self.settings.bias == Bias.PULL_UP if self.driven is None else self.driven


class FakeRequest:
    def __init__(self, board: "Board", number: int, settings: gpiod.LineSettings) -> None:
        self._board, self._number = board, number
        self._events: deque[Event] = deque()
        # As a semaphore it is readable for as long as an event is left.
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_SEMAPHORE)
        self.reconfigure_lines({number: settings})

    def reconfigure_lines(self, config: Mapping[int, gpiod.LineSettings]) -> None:
        line, settings = self._board.lines[self._number], config[self._number]
        assert settings.direction == Direction.INPUT or settings.edge_detection == Edge.NONE  # else Linux says EINVAL
        line.settings = gpiod.LineSettings(**vars(settings))
        if settings.direction == Direction.OUTPUT:
            line.output = settings.output_value == Value.ACTIVE

    def get_value(self, line: int) -> Value:
        return Value.ACTIVE if self._board.lines[line].level else Value.INACTIVE

    def set_value(self, line: int, value: Value) -> None:
        if self._board.broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        one = self._board.lines[line]
        assert one.settings.direction == Direction.OUTPUT  # else Linux says EPERM
        one.output = value == Value.ACTIVE
        one.changes.append((self._board.clock(), one.output))

    def happen(self, rising: bool) -> None:
        kind = gpiod.EdgeEvent.Type.RISING_EDGE if rising else gpiod.EdgeEvent.Type.FALLING_EDGE
        self._events.append(Event(kind, time.monotonic_ns()))
        os.eventfd_write(self.fd, 1)

    def read_edge_events(self, max_events: int) -> list[Event]:
        if self._board.broken:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        for _ in range(count := min(max_events, len(self._events))):
            os.eventfd_read(self.fd)
        return [self._events.popleft() for _ in range(count)]

    def release(self) -> None:
        os.close(self.fd)
        line = self._board.lines[self._number]
        line.used, line.consumer = False, ""
        del self._board.requests[self._number]


class FakeChip:
    def __init__(self, board: "Board", label: str) -> None:
        self._board, self._label = board, label
        self._has_header = label in LABELS

    def get_info(self) -> Info:
        return Info(self._label)

    def get_line_info(self, line: int) -> Line:
        return self._board.lines[line]

    def request_lines(
        self, config: Mapping[int, gpiod.LineSettings], consumer: str, event_buffer_size: int
    ) -> FakeRequest:
        ((number, settings),) = config.items()
        line = self._board.lines[number]
        if line.used or not self._has_header:  # the lines of the others are the kernel's
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        line.used, line.consumer = True, consumer
        self._board.requests[number] = FakeRequest(self._board, number, settings)
        return self._board.requests[number]

    def __enter__(self) -> Self:
        self._board.chips_open += 1
        return self

    def __exit__(self, *error: object) -> None:
        self._board.chips_open -= 1


class Board:
    """A board with the chips of a Pi 5: the header's is not the first."""

    def __init__(self, devices: Path) -> None:
        """`devices`: a directory for its chips."""
        self.labels = {"gpiochip0": "gpio-brcmstb@107d508500", "gpiochip11": "pinctrl-rp1"}
        """The label of each chip, by the name of its device."""
        self.devices = devices
        for name in self.labels:
            (devices / name).touch()
        self.header = Header(f"{devices}/gpiochip*", self._open)
        self.lines = [Line() for _ in range(LINES)]
        self.requests: dict[int, FakeRequest] = {}
        self.chips_open = 0
        self._loop: JumpingLoop | None = None
        self.broken = False
        """Whether outputs can no longer be set, and edges no longer be read."""
        self.refusal: int | None = None
        """The number of the error that opening a chip ends with."""

    def _open(self, path: str) -> Chip:
        if self.refusal is not None:
            raise OSError(self.refusal, os.strerror(self.refusal))
        return FakeChip(self, self.labels[Path(path).name])

    # Its levers

    def drive(self, number: int, high: bool) -> None:
        """Drive a line from outside, as a button does; an edge is kept if somebody waits for it."""
        line = self.lines[number]
        before, line.driven = line.level, high
        if line.level != before and line.settings.edge_detection == Edge.BOTH and number in self.requests:
            self.requests[number].happen(high)

    def jump(self, loop: JumpingLoop) -> None:
        """Use the clock of a loop whose time jumps."""
        self._loop = loop

    def clock(self) -> float:
        return self._loop.time() if self._loop else time.monotonic()

    def wait(self, seconds: float) -> None:
        (self._loop.block if self._loop else time.sleep)(seconds)

    async def brightness(self, number: int) -> float:
        """Return the part of the coming second in which a line is high: what the eye sees of an LED."""
        line, began = self.lines[number], self.clock()
        high, since, total_s = line.level, began, 0.0
        await asyncio.sleep(1.0)
        for at, level in [*(change for change in line.changes if change[0] >= began), (self.clock(), line.level)]:
            total_s += (at - since) * high
            high, since = level, at
        return total_s / (since - began)

    def level(self, number: int) -> bool:
        """Return the level of a line; one that nobody drives or pulls is low."""
        return self.lines[number].level


@contextmanager
def in_use(board: Board) -> Iterator[Board]:
    """Let flowpi use the pins of this board, and check that all of them are released at the end."""
    Device.pin_factory = LoopFactory(board.header, board.wait)
    try:
        yield board
        assert not board.requests
        assert not board.chips_open
    finally:
        Device.pin_factory.close()
        Device.pin_factory = None
