"""A keyboard whose computer a test determines: asleep, away, back; as the kernel's USB gadget was seen to behave."""

import contextlib
import socket

from flowpi.core.errors import KeyboardError
from flowpi.core.typing.strokes import IDLE, Modifiers, Stroke
from flowpi.keyboard.procedure import Reason, Wrote

HELD = 2
"""How many reports the controller holds while nobody fetches them."""


class ScriptedKeyboard:
    """The computer, its cable, and what opens the device (`open`).

    Attributes:
        reports: all reports that the computer has fetched.
        opened: how often the device was opened.
        after: what happens after so many more reports.
    """

    def __init__(self) -> None:
        self.reports: list[Stroke] = []
        self.opened = 0
        self.after: dict[int, object] = {}
        self.caps = False
        self._held: list[Stroke] = []
        self._awake = True
        self._connected = True
        self.present = True
        self.node = 0
        self._room, self._other = socket.socketpair()
        for end in (self._room, self._other):
            end.setblocking(False)

    def close(self) -> None:
        self._room.close()
        self._other.close()

    def open(self) -> "Device":
        if not self.present:
            raise KeyboardError(Reason.NO_HOST, "there is no such device")
        self.opened += 1
        return Device(self)

    # Levers.

    def sleep(self) -> None:
        self._awake = False

    def wake(self) -> None:
        """Let the computer fetch what is held, and all that comes."""
        self._awake = True
        held, self._held = self._held, []
        for one in held:
            self._fetch(one)
        self._show_room()

    def pull_cable(self) -> None:
        self._connected = False
        self._held.clear()
        self._show_room()

    def plug_cable(self) -> None:
        self._connected = True
        self._show_room()

    def replace(self) -> None:
        """Make the device anew, so that the one that is open is another."""
        self.node += 1

    # What the computer has seen.

    @property
    def typed(self) -> list[Stroke]:
        """Return the strokes, as the computer repeats none."""
        found, before = [], IDLE
        for one in self.reports:
            if one.keycode and one.keycode != before.keycode:
                found.append(one)
            before = one
        return found

    @property
    def down(self) -> Stroke:
        """Return what is down at the computer now."""
        return self.reports[-1] if self.reports else IDLE

    # The kernel's part.

    def write(self, down: Stroke) -> Wrote:
        if not self._connected:
            return Wrote.NOBODY
        if self._awake:
            self._fetch(down)
        elif len(self._held) < HELD:
            self._held.append(down)
        else:
            return Wrote.FULL
        self._show_room()
        return Wrote.TAKEN

    @property
    def fd(self) -> int:
        return self._room.fileno()

    def _fetch(self, down: Stroke) -> None:
        self.reports.append(down)
        if callable(lever := self.after.pop(len(self.reports), None)):
            lever()

    def _show_room(self) -> None:
        """Let the descriptor be writable exactly if there is room for a report."""
        with contextlib.suppress(BlockingIOError):
            if self._connected and len(self._held) < HELD:
                while self._other.recv(1 << 20):
                    pass
            else:
                while self._room.send(bytes(1 << 16)):
                    pass


class Device:
    """The device while it is open."""

    def __init__(self, keyboard: ScriptedKeyboard) -> None:
        self._keyboard = keyboard
        self._node = keyboard.node

    def fileno(self) -> int:
        return self._keyboard.fd

    def write(self, down: Stroke) -> Wrote:
        return self._keyboard.write(down) if self.is_current() else Wrote.NOBODY

    def caps_lock(self) -> bool:
        return self._keyboard.caps

    def is_current(self) -> bool:
        return self._keyboard.present and self._node == self._keyboard.node

    def close(self) -> None:
        pass


A, B, CAPITAL_C = Stroke(30), Stroke(48), Stroke(46, Modifiers.SHIFT)
