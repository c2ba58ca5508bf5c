"""The pins of the header for gpiozero, whose own drivers poll or are gone: requests of libgpiod, and no thread.

The kernel keeps edges with their time, and makes a file descriptor readable that the event loop waits for. gpiozero
calls back from there. Nothing wakes up while nothing happens.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import gpiod
from gpiod.line import Bias, Direction, Edge, Value
from gpiozero.exc import PinFixedPull, PinInvalidFunction, PinInvalidPull, PinSetInput
from gpiozero.pins.pi import PiFactory, PiPin

from flowpi.panel.dimming import Dimmer
from flowpi.panel.header import Header, Request

ANY_WITH_40_PINS = 0xC03111
"""The revision of a Pi 4. The header has had the same pins since the B+, so the one of this board is not read."""

BIAS = {"up": Bias.PULL_UP, "down": Bias.PULL_DOWN, "floating": Bias.DISABLED}


class LoopFactory(PiFactory):  # type: ignore[misc]
    """Makes pins whose edges, and whose dimming, come from the running event loop."""

    def __init__(self, header: Header, wait: Callable[[float], None] = time.sleep) -> None:
        """`wait`: that of `Dimmer`."""
        super().__init__()
        self.header, self.wait = header, wait
        self.pin_class = LoopPin

    def _get_revision(self) -> int:
        return ANY_WITH_40_PINS

    @staticmethod
    def ticks() -> float:
        return time.monotonic()  # the clock of the kernel's edges

    @staticmethod
    def ticks_diff(later: float, earlier: float) -> float:
        return later - earlier


class LoopPin(PiPin):  # type: ignore[misc]
    """A line that is requested when it is first used, and released by `close`; then it can be used again."""

    def __init__(self, factory: LoopFactory, info: Any) -> None:
        super().__init__(factory, info)
        self._header = factory.header
        self._settings = gpiod.LineSettings(direction=Direction.INPUT)
        self._request: Request | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        """The loop that waits for edges."""
        self._dimmer = Dimmer(self._switch, factory.wait)
        self._frequency: float | None = None

    def close(self) -> None:
        self._stop_waiting()
        self._dimmer.stop()
        self._when_changed = None
        request, self._request = self._request, None
        is_output = self._settings.direction == Direction.OUTPUT
        self._settings, self._frequency = gpiod.LineSettings(direction=Direction.INPUT), None
        if request is None:
            return
        try:
            if is_output:  # some chips keep the level of a line that is released
                request.set_value(self._number, Value.INACTIVE)
        finally:
            request.release()

    def _configure(self, **settings: Any) -> None:
        """Change settings of the line. Raises PanelError, or OSError for a line that has been requested already."""
        for name, value in settings.items():
            setattr(self._settings, name, value)
        if self._request is None:
            self._request = self._header.request(self._number, self._settings)
        else:
            self._request.reconfigure_lines({self._number: self._settings})

    def _requested(self) -> Request:
        if self._request is None:
            self._configure()
        assert self._request is not None
        return self._request

    def _get_function(self) -> str:
        return "output" if self._settings.direction == Direction.OUTPUT else "input"

    def _set_function(self, value: str) -> None:
        match value:
            case "output":
                self._configure(direction=Direction.OUTPUT, bias=Bias.AS_IS, edge_detection=Edge.NONE)
            case "input":
                self._configure(direction=Direction.INPUT)
            case _:
                raise PinInvalidFunction(f"invalid function {value!r} for pin {self!r}")

    def _get_state(self) -> float:
        if self._get_function() == "output":
            return self._dimmer.level
        return float(self._requested().get_value(self._number) == Value.ACTIVE)

    def _set_state(self, value: float) -> None:
        if self._get_function() == "input":
            raise PinSetInput(f"cannot set state of pin {self!r}")
        self._dimmer.set(float(value))

    def _switch(self, high: bool) -> None:
        self._requested().set_value(self._number, Value.ACTIVE if high else Value.INACTIVE)

    def _get_pull(self) -> str:
        return {bias: name for name, bias in BIAS.items()}.get(self._settings.bias, "floating")

    def _set_pull(self, value: str) -> None:
        if self._get_function() != "input":
            raise PinFixedPull(f"cannot set pull on non-input pin {self!r}")
        if self.info.pull not in (value, ""):
            raise PinFixedPull(f"{self!r} has a resistor that pulls it {self.info.pull}")
        if value not in BIAS:
            raise PinInvalidPull(f"invalid pull {value!r} for pin {self!r}")
        self._configure(bias=BIAS[value])

    def _get_frequency(self) -> float | None:
        return self._frequency

    def _set_frequency(self, value: float | None) -> None:
        self._frequency = value  # levels between low and high are possible anyway, by the dimmer and its own frequency

    # gpiozero sets these two for every input. Both edges are always reported, and bounces too: `core/gestures.py`.

    def _get_edges(self) -> str:
        return "both"

    def _set_edges(self, value: str) -> None:
        if value != "both":
            raise NotImplementedError(value)

    def _enable_event_detect(self) -> None:
        self._configure(edge_detection=Edge.BOTH)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._requested().fd, self._read)

    def _disable_event_detect(self) -> None:
        self._stop_waiting()
        self._configure(edge_detection=Edge.NONE)

    def _stop_waiting(self) -> None:
        loop, self._loop = self._loop, None
        if loop is not None and self._request is not None and not loop.is_closed():
            loop.remove_reader(self._request.fd)

    def _read(self) -> None:
        """Report one edge. The loop calls again for the next, also if a callback raises: no edge is lost by that."""
        try:
            events = self._requested().read_edge_events(max_events=1)
        except OSError:  # the chip is gone, and a line that stays readable would keep the loop busy for ever
            self._stop_waiting()
            raise
        for event in events:
            self._call_when_changed(event.timestamp_ns / 1e9, int(event.event_type is gpiod.EdgeEvent.Type.RISING_EDGE))
