"""Carries out a plan of `flowpi setup`, one step at a time.

Each step can be repeated, and a step that is cut off leaves the old file or the new one: so an interrupted setup is
completed by running it again.
"""

import contextlib
import errno
import os
import shutil
import subprocess
from pathlib import Path

from flowpi.core.errors import CannotCreateError, UnavailableError
from flowpi.host.folders import replace_file
from flowpi.setup.machine import inside
from flowpi.setup.steps import Delete, DeleteFolder, RunProgram, Say, Step, Symlink, Write

RUN_TIMEOUT_S = 300
"""The time limit of a program: a service that starts may load a model on a small machine."""


def carry_out(step: Step, root: str) -> None:
    """Carry out one step.

    Args:
        step: the step; its paths are those of the installed machine.
        root: the folder of the image; empty for this machine.

    Raises:
        CannotCreateError: the disk refuses the change, or a link leads out of the image.
        UnavailableError: a program of the machine is missing, or failed.
    """
    match step:
        case RunProgram(arguments, may_fail):
            _run(arguments, may_fail)
        case Say():
            pass
        case Write(path) | Symlink(path) | Delete(path) | DeleteFolder(path):
            try:
                _change(step, inside(root, path))
            except OSError as error:
                hint = "mount it writable: sudo mount -o remount,rw ..." if error.errno == errno.EROFS else "see `df`"
                raise CannotCreateError(f"cannot change {path} ({error.strerror})", hint) from error


def _change(step: Write | Symlink | Delete | DeleteFolder, path: str) -> None:
    match step:
        case Write(_, content):
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
            replace_file(Path(path), content, 0o644)
        case Symlink(_, target):
            folder, name = os.path.split(path)
            os.makedirs(folder, mode=0o755, exist_ok=True)
            # Made beside and renamed: a link cannot be overwritten in place, and the old one must stay until then.
            beside = os.path.join(folder, f".{name}.new")
            with contextlib.suppress(FileNotFoundError):
                os.unlink(beside)  # left by a run that was cut off
            os.symlink(target, beside)
            os.replace(beside, path)
        case Delete():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        case DeleteFolder(if_empty=True):
            with contextlib.suppress(FileNotFoundError):
                if not os.listdir(path):
                    os.rmdir(path)
        case DeleteFolder():
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(path)


def _run(arguments: tuple[str, ...], may_fail: bool) -> None:
    try:
        done = subprocess.run(
            arguments, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=RUN_TIMEOUT_S
        )
    except FileNotFoundError:
        if may_fail:
            return
        raise UnavailableError(f"{arguments[0]} is missing", "flowpi is set up on Debian with systemd") from None
    except subprocess.TimeoutExpired:
        hint = f"run it by hand: {' '.join(arguments)}"
        raise UnavailableError(f"{arguments[0]} has not ended in {RUN_TIMEOUT_S} s", hint) from None
    if done.returncode and not may_fail:
        said = " ".join((done.stderr or done.stdout).split())[:500]
        hint = "then run `flowpi setup` again, which goes on from here"
        raise UnavailableError(f"`{' '.join(arguments)}` ended with {done.returncode} ({said})", hint)
