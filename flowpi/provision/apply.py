"""`flowpi provision`: moves the configuration from the boot partition to /etc, and its secrets off that partition.

The steps, in this order, each durable before the next, so that a power cut leaves the old configuration or the new
one, and the next boot continues:

1. each secret is written to a file of its own, under a name that the configuration in force does not use;
2. the file of the system's Wi-Fi (`wifi_files.py`) is replaced, or deleted after `wifi: none`;
3. `flowpi.yaml` in /etc is replaced by the text that refers to the files of the secrets, and says nothing of Wi-Fi;
4. credentials that the new text does not refer to are deleted;
5. `flowpi-taken.yaml` on the boot partition gets the same text and the network without its password, for the user to
   read and to edit next time;
6. the user's file is marked as taken in its first sector, overwritten in place to the end of its last cluster, and
   only then deleted: a FAT file system deletes a file without erasing its bytes, and an interrupted rename can lose
   both names. Each boot retries this step until it succeeds, and uses a marked file for nothing else.

The network and the configuration are two files, and neither refers to the other: a cut between 2 and 3 leaves the new
network with the old configuration, and the next boot goes on.

A file that cannot be used changes nothing in /etc. The error is written to `flowpi-error.txt` beside the file, and to a
file below /run, from which the daemon reports it (`flowpi.host.boot_config_status`).
"""

import contextlib
import errno
import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flowpi.core.errors import CannotCreateError, ConfigError, FlowpiError, NoPermissionError, NotWipedError
from flowpi.host import boot_config_status
from flowpi.host.folders import FOLDER, make_folder, replace_file, sync_names
from flowpi.host.mounts import forgets

if TYPE_CHECKING:
    from flowpi.provision import wifi
    from flowpi.provision.boot_file import BootFile

log = logging.getLogger(__name__)

BOOT = ("/boot/firmware", "/boot")
"""The mount points of the FAT partition on Raspberry Pi OS; the second until Bullseye."""

ETC = "/etc/flowpi"

NAMES = ("flowpi.yaml", "flowpi.yaml.txt", "flowpi.yml", "flowpi.yml.txt")
"""The accepted file names, in upper or lower case. Notepad adds .txt."""

OTHERS = (".deb", ".gz", ".img", ".json", ".md", ".whl", ".xz", ".zip")
"""The ends of names that hold flowpi's own name and no configuration."""

CONFIG = "flowpi.yaml"
TAKEN = "flowpi-taken.yaml"
ERROR = "flowpi-error.txt"
NOT_WIPED = "not-wiped.sha256"
"""The file in /etc with the hash of a boot file that is in force and could not be wiped."""

SECTOR_BYTES = 512
WIPING = b"# flowpi took this file over and is wiping it.\n"
"""The first line of a file that is only to be wiped and deleted, whatever else it holds."""

HEAD = """\
# flowpi took this over, without the secrets: they are on the appliance now, under the names in {credential: ...}. The
# password of the Wi-Fi is there too: it is the one that is "kept".
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
    """Apply the configuration file on a boot partition, if there is one.

    Args:
        boots: the boot partitions; the first one with a file is used.
        etc: the directory of the configuration in force.
        run: the directory where the daemon looks for a refusal; None: the refusal is not passed on.

    Returns:
        0: there was nothing to do, or everything is done.

    Raises:
        ConfigError: the file cannot be used; the error is also on the boot partition.
        CannotCreateError: /etc cannot be written; the error is also on the boot partition.
        NotWipedError: the configuration is in force, but its secrets are still on the boot partition.
        NoPermissionError: there is something to do, and this user may not; nothing was changed.
    """
    boot = next((boot for boot in boots if any(_names(boot)) or os.path.lexists(boot / ERROR)), None)
    if boot is None:
        log.info("nothing to take over at %s", " or ".join(map(str, boots)))
        return 0
    _check_rights(boot, etc)
    try:
        name = _the_one(boot)
        if name is not None:
            _take_over(boot / name, etc)
    except NotWipedError:
        _accept(boot, run)  # the configuration itself is in force, so an earlier refusal no longer holds
        raise
    except FlowpiError as error:
        _refuse(boot, run, error)
        raise
    except Exception as error:
        # Without the message of the exception, which may hold a secret.
        mistake = f"flowpi made a mistake of its own ({type(error).__name__})"
        _refuse(boot, run, FlowpiError(mistake, "please report it, and use a simpler file meanwhile"))
        raise
    _accept(boot, run)
    return 0


def _check_rights(boot: Path, etc: Path) -> None:
    """Raise NoPermissionError if this user is not root and may not write."""
    there = next(folder for folder in (etc, *etc.absolute().parents) if folder.exists())
    for folder in (boot, there):
        if os.geteuid() != 0 and not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
            raise NoPermissionError(f"{str(folder)!r} is not for this user to write", "run it with sudo")


def _names(boot: Path) -> tuple[list[str], list[str]]:
    """Return the file names that are accepted, and those that were probably meant to be."""
    try:
        present = sorted(os.listdir(boot))
    except OSError:
        return [], []
    good = [name for name in present if name.lower() in NAMES]
    return good, [name for name in present if name not in good and _is_meant(boot / name)]


def _is_meant(path: Path) -> bool:
    """Return whether a file was probably meant to be the configuration, as the second download of a browser is."""
    name = path.name.lower()
    if name in (TAKEN, ERROR) or name.startswith((".", "_")) or name.endswith(OTHERS) or path.is_dir():
        return False
    return "flowpi" in "".join(letter for letter in name if letter.isalnum())


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
        # An earlier run was cut off while wiping: its configuration is in force, and this file may be half erased.
        _wipe(path)
        return
    digest = hashlib.sha256(content).hexdigest().encode()
    not_wiped = _content(etc / NOT_WIPED)
    in_force = _content(etc / CONFIG) if not_wiped == digest else None
    if in_force is None:
        boot = boot_file.understand(content, path.name)
        _check(boot, etc)
        # Before the file is wiped: until then the boot partition holds the only copy of the secrets.
        in_force = _install(boot, etc).encode()
        log.info("%s is in force; its secrets: %d", path, len(boot.literals))
    try:
        _write(path.with_name(TAKEN), f"{HEAD}{in_force.decode()}{_network_in_force(etc)}{boot_file.END}\n")
    except OSError as error:
        log.warning("cannot write %s (%s)", path.with_name(TAKEN), error.strerror)
    try:
        _wipe(path)
    except NotWipedError:
        # So that the next boot only wipes: it must not undo what was changed in /etc since.
        with contextlib.suppress(OSError):  # without the hash the next boot only applies the file again
            replace_file(etc / NOT_WIPED, digest, 0o600)
        raise
    if not_wiped is not None:
        (etc / NOT_WIPED).unlink()


def _check(boot: "BootFile", etc: Path) -> None:
    """Raise ConfigError for a configuration that the daemon would refuse to start with, or a network without a key."""
    from flowpi.backends.chain import make_backends
    from flowpi.provision.credentials import check_references

    try:
        _network(boot, etc)
        check_references(etc, boot.config)
        make_backends(boot.config)
    except ConfigError as error:
        raise boot.placed(error) from None


def _network(boot: "BootFile", etc: Path) -> "wifi.Wifi":
    """Return the network of the file with its key. Raises ConfigError if that, or what could use it, is not there."""
    from flowpi.provision import wifi, wifi_files

    if not isinstance(boot.network, wifi.Network):
        return boot.network
    system = _system(etc)
    if wifi_files.program(system) is None:
        problem = "cannot be set up, as neither wpa_supplicant nor NetworkManager is on this appliance"
        raise ConfigError(boot.name, None, wifi.SECTION, problem, "take it out, or install wpasupplicant")
    return wifi.with_kept(boot.network, wifi_files.present(system))


def _network_in_force(etc: Path) -> str:
    """Return the network of the appliance as a section of the file, empty if there is none."""
    from flowpi.config.loading import to_yaml
    from flowpi.provision import wifi, wifi_files

    network = wifi_files.present(_system(etc))
    return "" if network is None else to_yaml({wifi.SECTION: wifi.shown(network)})


def _system(etc: Path) -> Path:
    """Return the /etc of the system with this directory of flowpi."""
    return etc.absolute().parent


def _install(boot: "BootFile", etc: Path) -> str:
    """Install the configuration and its secrets in /etc; return the new text of the configuration.

    Raises:
        CannotCreateError: /etc cannot be written.
    """
    from flowpi.provision import credentials, wifi_files
    from flowpi.provision.boot_file import without_secrets

    network = _network(boot, etc)
    if forgets(etc.absolute()):
        problem = f"{etc} is in memory only, as the card is write-protected by an overlay file system"
        raise CannotCreateError(problem, "switch that off in raspi-config, and on again when this file was taken over")
    try:
        if not etc.is_dir():
            make_folder(etc)
            etc.chmod(0o755)
        # The new secrets before the text that refers to them, the old ones after it: whichever configuration a power
        # cut leaves in force, its secrets are there.
        names = credentials.keep(etc, boot.literals)
        wifi_files.apply(_system(etc), network)
        text = without_secrets(boot, names).removeprefix(HEAD)  # the user may have edited an earlier flowpi-taken.yaml
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
    """Return the mode and group of the configuration: it holds no secrets, but personal data in `context`."""
    import grp

    try:
        return 0o640, grp.getgrnam("flowpi").gr_gid
    except KeyError:
        return 0o644, None


def _overwrite(path: Path) -> None:
    """Mark the file with `WIPING` and overwrite the rest with zeros, durably. Raises OSError."""
    with open(os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC), "r+b") as file:
        found = os.fstat(file.fileno())
        size = -(-max(found.st_size, SECTOR_BYTES) // found.st_blksize) * found.st_blksize
        # The mark first and on the disk before the zeros, or a file cut off in between would be taken for a
        # configuration that is damaged.
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
            log.warning("cannot report the refusal to the daemon in %s (%s)", run, fault.strerror)


def _accept(boot: Path, run: Path | None) -> None:
    if os.path.lexists(boot / ERROR):  # else a read-only partition would cause a needless warning
        try:
            os.unlink(boot / ERROR)
            _sync(boot)
        except OSError as error:
            log.warning("cannot delete %s (%s)", boot / ERROR, error.strerror)
    if run is not None:
        boot_config_status.withdraw(run)


def _encoded(text: str) -> bytes:
    """Return the text with CRLF: the Notepad of Windows 7 shows text with bare LF as one long line."""
    return text.replace("\n", "\r\n").encode()


def _write(path: Path, text: str) -> None:
    """Write the file durably and in place: FAT offers nothing better, and nothing depends on the file. Raises OSError.

    The old content is wiped first, because the user may have written a secret into it.
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
