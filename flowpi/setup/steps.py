"""What `flowpi setup` does, as values: a plan is a list of these, printed by --dry-run and carried out otherwise.

Paths are those that the installed machine sees, whatever folder its root is in.
"""

import shlex

import msgspec


class Write(msgspec.Struct, frozen=True):
    """The whole file, mode 0644, at once."""

    path: str
    content: bytes


class Link(msgspec.Struct, frozen=True):
    """A symbolic link, in place of what is there."""

    path: str
    target: str


class Delete(msgspec.Struct, frozen=True):
    """A file or a link."""

    path: str


class DeleteFolder(msgspec.Struct, frozen=True):
    """With everything in it; `if_empty`: only if there is nothing."""

    path: str
    if_empty: bool = False


class RunProgram(msgspec.Struct, frozen=True):
    """A program of the machine that does the work, with the root in its arguments.

    Attributes:
        may_fail: what it undoes is perhaps not there.
    """

    arguments: tuple[str, ...]
    may_fail: bool = False


class Say(msgspec.Struct, frozen=True):
    """For the person who reads along: what is left as it is, and what to do now."""

    text: str


Step = Write | Link | Delete | DeleteFolder | RunProgram | Say


def describe(step: Step) -> str:
    """One line."""
    match step:
        case Write(path, content):
            return f"write {path} ({len(content)} bytes)"
        case Link(path, target):
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
