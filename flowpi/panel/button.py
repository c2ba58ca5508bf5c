"""What a button is: a contact that reports its edges. What they mean is decided in `core/gestures.py`."""

from collections.abc import Callable
from typing import Protocol

from flowpi.core.errors import PanelError

OnEdge = Callable[[bool, float], None]
"""Called on the event loop: whether the contact is closed (pressed), and when it changed, in monotonic seconds."""

OnTrouble = Callable[[PanelError | None], None]
"""Called on the event loop: the button went away, and why; None when it is back."""


class Button(Protocol):
    def open(self, on_edge: OnEdge) -> None:
        """Report edges from now on. Called on the loop; may take some 100 ms in a library's first import.

        Raises:
            PanelError: there is no such button here.
        """

    def is_pressed(self) -> bool | None:
        """What the contact says now; None where only its edges tell."""

    def close(self) -> None:
        """No more edges. Harmless when closed."""


class NoButton:
    """For an appliance that is driven by commands alone."""

    def open(self, on_edge: OnEdge) -> None:
        pass

    def is_pressed(self) -> bool | None:
        return None

    def close(self) -> None:
        pass


class ScriptedButton:
    """A button whose finger is a program: the demonstration's, and the tests'."""

    def __init__(self) -> None:
        self._on_edge: OnEdge | None = None

    def open(self, on_edge: OnEdge) -> None:
        self._on_edge = on_edge

    def is_pressed(self) -> bool | None:
        return None

    def close(self) -> None:
        self._on_edge = None

    def press(self, at: float) -> None:
        if self._on_edge:
            self._on_edge(True, at)

    def release(self, at: float) -> None:
        if self._on_edge:
            self._on_edge(False, at)
