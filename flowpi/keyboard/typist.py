"""Carries out the procedures of the typist on the event loop, with the device, which may come and go."""

import asyncio
import contextlib
import logging
import select
from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

from flowpi.core.errors import KeyboardError
from flowpi.core.typing.strokes import IDLE, Stroke
from flowpi.keyboard.output import Output, message
from flowpi.keyboard.procedure import (
    Ask,
    Effect,
    Ended,
    Pause,
    WaitForRoom,
    Write,
    Wrote,
    ask,
    settle,
    type_strokes,
)

log = logging.getLogger(__name__)

Result = TypeVar("Result")

LOOK_S = 1.0
"""How often a device that is missing is looked for, while something is owed to it."""

LAST_S = 0.1
"""How long the end of the process waits for each of two releases."""


class Typist:
    """Types, one text at a time.

    Attributes:
        owes: whether a key may be down at the computer. So it is at the start: the process of before may have been
            killed in the middle of a stroke.
    """

    def __init__(self, open_output: Callable[[], Output], pace_s: float) -> None:
        """
        Args:
            open_output: opens the device; raises KeyboardError.
            pace_s: how long each moment is held.
        """
        self._open_output = open_output
        self._pace_s = pace_s
        self._output: Output | None = None
        self.owes = True

    def open(self) -> None:
        """Open the device, or open it anew if there is another one at its path. Raises KeyboardError."""
        if self._output is not None and not self._output.is_current():
            self._shut()
        if self._output is None:
            self._output = self._open_output()
            self.owes = True

    def close(self) -> None:
        """Release all keys and close the device."""
        if self._output is not None:
            if self.owes:
                self._release()
            self._shut()

    def caps_lock(self) -> bool:
        """Return whether Caps Lock is on at the computer, as far as it has said. Raises KeyboardError."""
        self.open()
        assert self._output is not None
        return self._output.caps_lock()

    async def ask(self) -> None:
        """Find out whether a text could be typed now. Raises KeyboardError if not."""
        self.open()
        if (reason := await self._carry_out(ask(), lambda: True)) is not None:
            raise KeyboardError(reason, *message(reason))

    async def type(self, characters: Sequence[Sequence[Stroke]], go_on: Callable[[], bool]) -> Ended:
        """Type the strokes of characters as long as `go_on` returns true before each character. Cancelling releases all
        keys.

        Raises:
            KeyboardError: there is no device; nothing was typed.
        """
        self.open()
        self.owes = True
        try:
            ended = await self._carry_out(type_strokes(characters), go_on)
        except asyncio.CancelledError:
            self._release()
            raise
        self.owes = ended.owes or ended.reason is not None
        return ended

    async def settled(self) -> None:
        """Wait until the computer has taken a release of all keys, which is owed."""
        while self.owes:
            try:
                self.open()
                if await self._room(LOOK_S) == 0:
                    continue
                self.owes = not await self._carry_out(settle(), lambda: True)
                if self.owes:  # there was room for the first of two reports
                    await asyncio.sleep(LOOK_S)
            except KeyboardError as error:
                log.debug("%s", error)
                await asyncio.sleep(LOOK_S)

    async def _carry_out(self, procedure: Generator[Effect, Any, Result], go_on: Callable[[], bool]) -> Result:
        result: Any = None
        while True:
            try:
                effect = procedure.send(result)
            except StopIteration as ended:
                value: Result = ended.value
                return value
            match effect:
                case Write(down):
                    assert self._output is not None
                    result = self._output.write(down)
                case WaitForRoom(seconds):
                    result = await self._room(seconds)
                case Pause():
                    await asyncio.sleep(self._pace_s)
                    result = None
                case Ask():
                    result = go_on()

    async def _room(self, seconds: float) -> float:
        """Wait until the device may take a report; return how many of the seconds are left."""
        assert self._output is not None
        loop, handle = asyncio.get_running_loop(), self._output.fileno()
        deadline, room = loop.time() + seconds, asyncio.Event()
        loop.add_writer(handle, room.set)
        try:
            async with asyncio.timeout_at(deadline):
                await room.wait()
        except TimeoutError:
            return 0.0
        finally:
            loop.remove_writer(handle)
        return max(0.0, deadline - loop.time())

    def _release(self) -> None:
        """Release all keys without the loop, as far as that goes at once."""
        assert self._output is not None
        poll = select.poll()
        poll.register(self._output.fileno(), select.POLLOUT)
        for _ in range(2):
            poll.poll(LAST_S * 1000)
            if self._output.write(IDLE) is not Wrote.TAKEN:
                return
        self.owes = False

    def _shut(self) -> None:
        output, self._output = self._output, None
        if output is not None:
            with contextlib.suppress(OSError):
                output.close()
