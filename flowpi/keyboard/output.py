"""What both kinds of keyboard have in common for the typist."""

from typing import Protocol

from flowpi.core.errors import KeyboardError
from flowpi.core.typing.strokes import Stroke
from flowpi.keyboard.procedure import Reason, Wrote


class Output(Protocol):
    """A keyboard, while it is open."""

    def fileno(self) -> int:
        """Return the descriptor, which can be written when the device may take a report."""

    def write(self, down: Stroke) -> Wrote:
        """Report which keys are down. Returns at once."""

    def caps_lock(self) -> bool:
        """Return whether Caps Lock is on at the computer, as far as it has said."""

    def is_current(self) -> bool:
        """Return whether this is still the device at its path; if not, open it anew."""

    def close(self) -> None:
        """Close the device."""


def message(reason: Reason) -> tuple[str, str]:
    """Return what is wrong, and what to do, if nobody takes reports."""
    if reason is Reason.ASLEEP:
        return "the computer fetches no keys", "wake it up by its own keyboard, and dictate again"
    return (
        "no computer is connected",
        "check that the cable carries data, and leads to the socket that docs/typing.md names",
    )


def explained(path: str, error: OSError, missing: str, group: str) -> KeyboardError:
    """Return why a device cannot be opened.

    Args:
        missing: what to do if there is none.
        group: whose members may open it.
    """
    why = (error.strerror or str(error)).lower()
    if isinstance(error, PermissionError):
        hint = f"{path} is for the group {group}; `sudo systemctl restart flowpi-keyboard` if it has just appeared"
        return KeyboardError(Reason.NO_PERMISSION, f"may not open {path} ({why})", hint)
    return KeyboardError(Reason.NO_HOST, f"there is no {path} ({why})", missing)
