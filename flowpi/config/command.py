"""The settings of `flowpi hook`, which runs a program of the user for each text."""

import os
from collections.abc import Iterator
from typing import Annotated

from msgspec import Struct

from flowpi.config.topic_filters import unusable
from flowpi.config.types import Words, setting
from flowpi.core import topics

SHELL_WORDS = {
    "alias",
    "cd",
    "eval",
    "exec",
    "exit",
    "export",
    "for",
    "if",
    "read",
    "set",
    "source",
    "umask",
    "while",
    "{",
}
"""What only a shell knows: no folder has a program of this name that does the same."""

HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")
"""The folders that the service cannot see: its unit has ProtectHome= and PrivateTmp=."""


class CommandSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """A program of yours that is run for each text, by `flowpi-hook.service`: see [command](command.md)."""

    run: Annotated[
        Words | None,
        setting(
            "the program with its whole path, and its arguments: `[/usr/local/bin/note]`; null: none", applied="hook"
        ),
    ] = None
    filters: Annotated[
        Words,
        setting("the topics for whose messages it is run; only texts are tried again and never missed", applied="hook"),
    ] = (topics.FINAL,)
    timeout_s: Annotated[
        float, setting("it is ended if it runs for longer, with all that it started", applied="hook", ge=0.1, le=3600)
    ] = 30

    @property
    def follows_texts(self) -> bool:
        """Whether texts are among the messages of its topics."""
        return any(topics.matches(one, topics.FINAL) for one in self.filters)

    def contradictions(self) -> Iterator[tuple[tuple[str, ...], str, str]]:
        """Yield key, problem and hint of each value that cannot be used."""
        for index, one in enumerate(self.filters):
            if wrong := unusable(one):
                yield ("filters", str(index)), f"is {one[:100]!r}, {wrong[0]}", wrong[1]
        if self.run is None:
            return
        for index, argument in enumerate(self.run):
            if "\0" in argument:
                yield ("run", str(index)), "has a NUL character, which no program can be given", "take it out"
        if no_program := _no_program(self.run[0]):
            yield ("run", "0"), *no_program

    def warnings(self) -> Iterator[str]:
        """Yield what may be wrong with the program on this machine, as `what is wrong: what to do`."""
        if self.run is None or "\0" in self.run[0]:
            return
        program = self.run[0]
        if hidden := [folder for folder in HIDDEN if program.startswith(f"{folder}/")]:
            hint = "put it into /usr/local/bin, where root alone may change it"
            yield f"publish.command.run: flowpi-hook.service does not see {hidden[0]}: {hint}"
        if os.path.isdir(program):
            yield f"publish.command.run: {program!r} is a directory: name the program in it"
        elif not os.path.lexists(program):
            hint = "write each argument as an item of its own" if " " in program else "install it, or correct the path"
            yield f"publish.command.run: there is no program {program!r}: {hint}"
        elif not _may_be_executed(program):
            yield f"publish.command.run: {program!r} may not be executed: sudo chmod 755 {program}"


def _may_be_executed(program: str) -> bool:
    """Whether somebody may execute a file. Not by access(2): in the sandbox of the daemon nothing can be executed."""
    try:
        return bool(os.stat(program).st_mode & 0o111)
    except OSError:
        return False


def _no_program(program: str) -> tuple[str, str] | None:
    """Return problem and hint for what cannot be the path of a program, or None."""
    if program.startswith("/"):
        return None
    word = program.split()[0] if program.split() else program
    if word in SHELL_WORDS:
        hint = "put it into a script that begins with #!/bin/sh, and name that"
        return f"is {program!r}, which only a shell understands, and there is none here", hint
    if program.startswith(("~", "$")):
        return f"is {program!r}, and neither ~ nor $ is replaced here", "write the whole path, from / on"
    return f"is {program!r}, and no folder is searched for it", f"write its whole path: `command -v {word}` shows it"
