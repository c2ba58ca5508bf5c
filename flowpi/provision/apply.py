"""`flowpi provision`: the configuration moves from the boot partition to /etc, and its secrets away from the card.

In this order, each step durable before the next, so that a power cut leaves the old configuration or the new one, and
the next boot goes on:

1. each secret becomes a file of its own under a name that nothing in force uses;
2. `flowpi.yaml` in /etc is replaced by the text that names them;
3. credentials that it does not name are deleted;
4. `flowpi-taken.yaml` on the boot partition gets the same text, to look at and to start from next time;
5. the person's file is marked as taken in its first sector, overwritten in place to the end of its last cluster, and
   only then deleted: a FAT file system deletes by forgetting where the bytes are, and a rename that is cut in two can
   forget both names. Until this step is done it is tried again at each boot, and nothing else is done with this file.

A file that cannot be used changes nothing in /etc. What is wrong stands in `flowpi-error.txt` beside it, and in a file
below /run, by which the daemon shows it (`flowpi.host.boot_config_status`).
"""

import contextlib
import errno
import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flowpi.core.errors import CannotCreateError, ConfigError, FlowpiError, NotWipedError
from flowpi.host import boot_config_status
from flowpi.host.folders import FOLDER, make_folder, replace_file, sync_names
from flowpi.host.mounts import forgets

if TYPE_CHECKING:
    from flowpi.provision.boot_file import BootFile

log = logging.getLogger(__name__)

BOOT = ("/boot/firmware", "/boot")
"""Where Raspberry Pi OS has its FAT partition; the second until Bullseye."""

ETC = "/etc/flowpi"

NAMES = ("flowpi.yaml", "flowpi.yaml.txt", "flowpi.yml", "flowpi.yml.txt")
"""In capitals or not. With .txt: what Notepad makes of it."""

MEANT = ("flowpi.y", "flowpi-boot.")
"""Others that begin so are not taken, but told: a person meant this file."""

CONFIG = "flowpi.yaml"
TAKEN = "flowpi-taken.yaml"
ERROR = "flowpi-error.txt"
NOT_WIPED = "not-wiped.sha256"
"""In /etc: the hash of a file that is in force and could not be wiped."""

SECTOR_BYTES = 512
WIPING = b"# flowpi took this file over and is wiping it.\n"
"""Begins a file that is to be wiped and deleted, whatever else is in it."""

HEAD = """\
# flowpi took this over, without the secrets: they are on the appliance now, under the names in {credential: ...}.
# To change something, edit it, write a secret anew where it changed, and save it as flowpi.yaml beside this file.
# The last line, three dots, must stay the last.

"""

NOTE = """\
flowpi cannot use the configuration on this card, and has changed nothing.

    {}
    What to do: {}

Until then the appliance goes on with its configuration of before; a new one has a built-in configuration.

Correct the file on any computer, eject the card, put it back and switch the appliance on.
This note is deleted when the file is good.
"""


def provision(boots: Sequence[Path], etc: Path, run: Path | None) -> int:
    """Take over the file that lies on one of the boot partitions, if any does.

    Args:
        boots: the first one with a file counts.
        etc: where the configuration goes.
        run: where the daemon looks for a refusal; None: it is not told.

    Returns:
        0: there was nothing to do, or all is done.

    Raises:
        ConfigError: the file cannot be used; it said so on the boot partition too, as for the next.
        CannotCreateError: /etc does not take it.
        NotWipedError: the configuration is in force, but its secrets are still on the boot partition.
    """
    boot = next((boot for boot in boots if any(_names(boot)) or os.path.lexists(boot / ERROR)), None)
    if boot is None:
        return 0
    try:
        name = _the_one(boot)
        if name is not None:
            _take_over(boot / name, etc)
    except NotWipedError:
        _accept(boot, run)
        raise
    except FlowpiError as error:
        _refuse(boot, run, error)
        raise
    except Exception as error:
        # Without its message, which may hold a secret.
        mistake = f"flowpi made a mistake of its own ({type(error).__name__})"
        _refuse(boot, run, FlowpiError(mistake, "please report it, and use a simpler file meanwhile"))
        raise
    _accept(boot, run)
    return 0


def _names(boot: Path) -> tuple[list[str], list[str]]:
    """Those that can be taken, and those that were meant to be."""
    try:
        present = sorted(os.listdir(boot))
    except OSError:
        return [], []
    good = [name for name in present if name.lower() in NAMES]
    return good, [name for name in present if name.lower().startswith(MEANT) and name not in good]


def _the_one(boot: Path) -> str | None:
    good, others = _names(boot)
    if len(good) > 1:
        raise ConfigError(good[1], None, "", f"is there beside {good[0]}", "delete the one that you do not mean")
    if others and not good:
        raise ConfigError(others[0], None, "", "is not the name of a configuration", f"rename it to {CONFIG}")
    return good[0] if good else None


def _take_over(path: Path, etc: Path) -> None:
    from flowpi.provision import boot_file

    try:
        content = boot_file.read(path)
    except OSError as error:
        hint = "copy it again, or try another card"
        raise ConfigError(path.name, None, "", f"cannot be read ({error.strerror})", hint) from None
    if content.startswith(WIPING):
        _wipe(path)
        return
    digest = hashlib.sha256(content).hexdigest().encode()
    not_wiped = _content(etc / NOT_WIPED)
    in_force = _content(etc / CONFIG) if not_wiped == digest else None
    if in_force is None:
        boot = boot_file.understand(content, path.name)
        _check(boot, etc)
        in_force = _install(boot, etc).encode()
        log.info("%s is in force; its secrets: %d", path, len(boot.literals))
    try:
        _write(path.with_name(TAKEN), f"{HEAD}{in_force.decode()}{boot_file.END}\n")
    except OSError as error:
        log.warning("cannot write %s (%s)", path.with_name(TAKEN), error.strerror)
    try:
        _wipe(path)
    except NotWipedError:
        with contextlib.suppress(OSError):  # then it is only taken over again
            replace_file(etc / NOT_WIPED, digest, 0o600)
        raise
    if not_wiped is not None:
        (etc / NOT_WIPED).unlink()


def _check(boot: "BootFile", etc: Path) -> None:
    """What ends the daemon must not pass here. Raises ConfigError."""
    from flowpi.backends.chain import make_backends
    from flowpi.provision.credentials import check_references

    try:
        check_references(etc, boot.config)
        make_backends(boot.config)
    except ConfigError as error:
        raise boot.placed(error) from None


def _install(boot: "BootFile", etc: Path) -> str:
    """Returns what stands in /etc now."""
    from flowpi.provision import credentials
    from flowpi.provision.boot_file import without_secrets

    if forgets(etc.absolute()):
        problem = f"{etc} is in memory only, as the card is write-protected by an overlay file system"
        raise CannotCreateError(problem, "switch that off in raspi-config, and on again when this file was taken over")
    try:
        if not etc.is_dir():
            make_folder(etc)
            etc.chmod(0o755)
        names = credentials.keep(etc, boot.literals)
        text = without_secrets(boot, names).removeprefix(HEAD)  # it may be what was taken before, edited
        if _content(etc / CONFIG) != text.encode():
            replace_file(etc / CONFIG, text.encode(), *_access())
        credentials.remove_others(etc, boot.config, names)
    except OSError as error:
        hint = "see whether the card is full, read-only or worn out"
        if error.errno in (errno.EACCES, errno.EPERM):
            hint = "run it as root"
        raise CannotCreateError(f"cannot write to {etc} ({error.strerror})", hint) from None
    return text


def _access() -> tuple[int, int | None]:
    """Mode and group of the configuration. It holds no secret, but what is said of a person in `context`."""
    import grp

    try:
        return 0o640, grp.getgrnam("flowpi").gr_gid
    except KeyError:
        return 0o644, None


def _overwrite(path: Path) -> None:
    """Raises OSError."""
    with open(os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC), "r+b") as file:
        found = os.fstat(file.fileno())
        size = -(-max(found.st_size, SECTOR_BYTES) // found.st_blksize) * found.st_blksize
        for content in (WIPING.ljust(SECTOR_BYTES), bytes(size - SECTOR_BYTES)):
            file.write(content)
            file.flush()
            os.fsync(file.fileno())


def _wipe(path: Path) -> None:
    try:
        _overwrite(path)
        os.unlink(path)
        _sync(path.parent)
    except OSError as error:
        problem = f"{path} is taken over, but cannot be wiped ({error.strerror}), and may hold secrets"
        hint = "make the boot partition writable and start again, or delete the file on another computer"
        raise NotWipedError(problem, hint) from None


def _refuse(boot: Path, run: Path | None, error: FlowpiError) -> None:
    words = NOTE.format(error.message, error.hint or "Correct it.")
    try:
        if _content(boot / ERROR) != _encoded(words):
            _write(boot / ERROR, words)
    except OSError as fault:
        log.warning("cannot write %s (%s)", boot / ERROR, fault.strerror)
    if run is not None:
        try:
            boot_config_status.tell(run, str(error))
        except OSError as fault:
            log.warning("cannot tell the daemon in %s (%s)", run, fault.strerror)


def _accept(boot: Path, run: Path | None) -> None:
    if os.path.lexists(boot / ERROR):  # else a read-only partition would refuse what need not be done
        try:
            os.unlink(boot / ERROR)
            _sync(boot)
        except OSError as error:
            log.warning("cannot delete %s (%s)", boot / ERROR, error.strerror)
    if run is not None:
        boot_config_status.withdraw(run)


def _encoded(text: str) -> bytes:
    """For any computer: the Notepad of Windows 7 shows one long line for LF alone."""
    return text.replace("\n", "\r\n").encode()


def _write(path: Path, text: str) -> None:
    """Durably, in place: on FAT there is no better, and nothing depends on it. Raises OSError.

    What was there is wiped: a person may have edited it, and written a secret into it.
    """
    if os.path.lexists(path):
        _overwrite(path)
    create = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(path, create, 0o644), "wb") as file:
        file.write(_encoded(text))
        file.flush()
        os.fsync(file.fileno())
    _sync(path.parent)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _sync(directory: Path) -> None:
    handle = os.open(directory, FOLDER)
    try:
        sync_names(handle)
    finally:
        os.close(handle)
