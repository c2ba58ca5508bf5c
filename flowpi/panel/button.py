"""The interface of a button: contacts that report their edges. `core/gestures.py` decides what they mean."""

from collections.abc import Callable
from typing import Protocol

from flowpi.core.errors import PanelError

Line = str | None
"""A contact: that of the button, None, or the one of a profile which has its own."""

OnEdge = Callable[[Line, bool, float], None]
"""A callback on the event loop: the contact, whether it is closed (pressed), and the monotonic time of the change."""

OnTrouble = Callable[[PanelError | None], None]
"""A callback on the event loop: why the button went away, or None when it is back."""


class Button(Protocol):
    def open(self, on_edge: OnEdge) -> None:
        """Report edges from now on. Call it on the loop; the first import of a library may take some 100 ms.

        Raises:
            PanelError: there is no such button here.
        """

    def is_pressed(self, line: Line = None) -> bool | None:
        """Return the current state of a contact, or None if only its edges are known."""

    def close(self) -> None:
        """Stop reporting edges. Harmless when closed."""


class NoButton:
    """The button of an appliance that is driven by commands alone."""

    def open(self, on_edge: OnEdge) -> None:
        pass

    def is_pressed(self, line: Line = None) -> bool | None:
        return None

    def close(self) -> None:
        pass


class ScriptedButton:
    """A button that is pressed by a program: by the demonstration, and by tests."""

    def __init__(self) -> None:
        self._on_edge: OnEdge | None = None

    def open(self, on_edge: OnEdge) -> None:
        self._on_edge = on_edge

    def is_pressed(self, line: Line = None) -> bool | None:
        return None

    def close(self) -> None:
        self._on_edge = None

    def press(self, at: float, line: Line = None) -> None:
        if self._on_edge:
            self._on_edge(line, True, at)

    def release(self, at: float, line: Line = None) -> None:
        if self._on_edge:
            self._on_edge(line, False, at)
