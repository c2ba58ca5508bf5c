"""Records flowpi's disk operations in this process, in order: create, write, rename, delete and sync."""

import os
from collections.abc import Callable
from typing import Any

import pytest

Note = Callable[[str], None]


def recorded(monkeypatch: pytest.MonkeyPatch, also: Note = lambda call: None) -> list[str]:
    """Return a list to which each call is added from now on, as `sync 01JAZZ....utt`, with the last part of the name.

    Writes of buffered files are left out, and opening files that are not created by it (`O_EXCL`).

    Args:
        also: called with each call on the thread of its caller, before the call is made. What it raises is raised to
            the caller.
    """
    calls: list[str] = []

    def wrap(verb: str, name: str, what: Callable[..., str | None]) -> None:
        real: Callable[..., Any] = getattr(os, name)

        def call(*arguments: Any, **options: Any) -> Any:
            if (noun := what(*arguments, **options)) is not None:
                calls.append(f"{verb} {noun}")
                also(calls[-1])
            return real(*arguments, **options)

        monkeypatch.setattr(os, name, call)

    def made(path: Any, flags: int, *arguments: Any, **options: Any) -> str | None:
        return _last(path) if flags & os.O_EXCL else None

    wrap("make", "open", made)
    wrap("make", "mkdir", _last)
    wrap("write", "write", _of_handle)
    wrap("sync", "fsync", _of_handle)
    wrap("sync", "fdatasync", _of_handle)
    wrap("rename", "rename", _last)
    wrap("delete", "unlink", _last)
    return calls


def _last(path: Any, *arguments: Any, **options: Any) -> str:
    return os.path.basename(str(path))


def _of_handle(handle: int, data: object = None) -> str | None:
    """Return the path of a handle, or None if it is no file: the loop wakes itself through a socket."""
    path = os.readlink(f"/proc/self/fd/{handle}")
    return os.path.basename(path) if path.startswith("/") else None
