"""The steps of `flowpi setup`, as values: a plan is a list of steps, which --dry-run prints without carrying them out.

Paths are those that the installed machine sees, whatever folder its root is in.
"""

import shlex

import msgspec


class Write(msgspec.Struct, frozen=True):
    """Write the whole file atomically, mode 0644."""

    path: str
    content: bytes


class Symlink(msgspec.Struct, frozen=True):
    """Make a symbolic link, replacing any file at the path."""

    path: str
    target: str


class Delete(msgspec.Struct, frozen=True):
    """Delete a file or a link."""

    path: str


class DeleteFolder(msgspec.Struct, frozen=True):
    """Delete a folder with everything in it, or, with `if_empty`, only an empty folder."""

    path: str
    if_empty: bool = False


class RunProgram(msgspec.Struct, frozen=True):
    """Run a program of the machine.

    Attributes:
        arguments: the program and its arguments, which name the root of an image.
        may_fail: whether a failure is ignored, as there may be nothing for the program to do.
    """

    arguments: tuple[str, ...]
    may_fail: bool = False


class Say(msgspec.Struct, frozen=True):
    """Print a message to the user: what is kept, or what to do next."""

    text: str


Step = Write | Symlink | Delete | DeleteFolder | RunProgram | Say


def describe(step: Step) -> str:
    """Return the step as one line of text."""
    match step:
        case Write(path, content):
            return f"write {path} ({len(content)} bytes)"
        case Symlink(path, target):
            return f"link {path} to {target}"
        case Delete(path):
            return f"delete {path}"
        case DeleteFolder(path, if_empty=True):
            return f"delete {path} if it is empty"
        case DeleteFolder(path):
            return f"delete {path} and everything in it"
        case RunProgram(arguments):
            return f"run {shlex.join(arguments)}"
        case Say(text):
            return text
