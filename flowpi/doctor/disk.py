"""The check of the folders for sound and texts: space, permissions, quarantined files, and long waits."""

import os
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from flowpi.config.schema import Config
from flowpi.core.faults import SPOOL, TRANSCRIPTS
from flowpi.core.ulid import ulid_unix_ms
from flowpi.doctor.ask import status_of
from flowpi.doctor.findings import Finding, fine, skipped
from flowpi.host import paths
from flowpi.host.folders import FOLDER, write_and_delete
from flowpi.spool.quarantine import QUARANTINE, part_of

PART = "disk"

LEAST_MB = 20
"""The least free space: ten minutes of speech."""

LEAST_FILES = 100

PROBE = ".doctor"
"""The name of the test file, which is deleted at once."""

LONG_S = 24 * 3600.0

PRIVATE = skipped(PART, "what is kept there is private: run it as root (sudo flowpi doctor)")

FREE_SOME = "free some space: `df -h`, `sudo journalctl --vacuum-size=100M`, `flowpi spool list`"


def examine(config: Config) -> list[Finding]:
    spool, transcripts = _directories(config)
    status = status_of(config)
    findings: list[Finding] = []
    for what, directory, wanted_mb in (("sound", spool, config.spool.max_mb), ("texts", transcripts, 0)):
        finding = look_at(what, directory, wanted_mb)
        if finding is not None and not any(_is_same(finding, other) for other in findings):
            findings.append(finding)
    if status is not None and all(finding.level != "failure" for finding in findings):
        findings += told(status)
    findings += backlog(spool, status)
    return findings or [fine(PART, f"there is room in {spool}")]


def _is_same(finding: Finding, other: Finding) -> bool:
    """Whether two findings are the same fault of one disk. On two disks the second appears once the first is fixed."""
    return finding.code == other.code != "forbidden"


def _directories(config: Config) -> tuple[Path, Path]:
    """Return the daemon's folders for sound and texts, not the user's own, if the daemon runs as a service."""
    spool, transcripts = paths.spool_directory(config), paths.transcripts_directory(config)
    if os.geteuid() != 0 and paths.find_socket(config).parent == paths.SYSTEM_RUNTIME:
        spool = spool if config.spool.directory else paths.SYSTEM_STATE / "spool"
        transcripts = transcripts if config.publish.files.directory else paths.SYSTEM_STATE / "transcripts"
    return spool, transcripts


def look_at(what: str, directory: Path, wanted_mb: int) -> Finding | None:
    """Check a directory, or its closest existing parent; return None if nothing is wrong.

    Args:
        what: what the directory keeps, for the message.
        directory: the directory, which may not exist yet.
        wanted_mb: the size that its content may reach.
    """
    try:
        there = next(place for place in (directory, *directory.parents) if place.exists())
        disk = os.statvfs(there)
    except PermissionError:
        return PRIVATE
    except OSError as error:
        return _fails(directory, error)
    if not there.is_dir():
        what = f"{there} is a file, and should be a folder"
        return Finding(PART, "failure", "not_written", what, f"sudo mv {there} {there}.old")
    if disk.f_flag & os.ST_RDONLY:
        hint = f"`sudo mount -o remount,rw $(findmnt -no TARGET -T {there})`; if `dmesg` shows errors, replace the card"
        return Finding(PART, "failure", "read_only", f"{there} is on a file system that is mounted read-only", hint)
    if not os.access(there, os.W_OK | os.X_OK):
        if _is_service(directory):
            return PRIVATE
        command = f"chown -R $USER {directory}" if there == directory else f"install -d -o $USER {directory}"
        hint = f"`sudo {command}`, or set spool.directory and publish.files.directory"
        return Finding(PART, "failure", "forbidden", f"{there} may not be written, so no {what} can be kept", hint)
    if _is_service(directory) and there == directory and not _is_services_own(there):
        hint = f"sudo chown -R flowpi:flowpi {directory} && sudo systemctl restart flowpi"
        return Finding(
            PART, "failure", "forbidden", f"{there} does not belong to the service, which cannot use it", hint
        )
    if disk.f_files and disk.f_favail < LEAST_FILES:
        hint = "delete many small files: `sudo du --inodes -xd3 / | sort -n | tail`"
        return Finding(PART, "failure", "inodes", f"{there} has room for {disk.f_favail} more files", hint)
    free_mb = disk.f_bavail * disk.f_frsize // 1_000_000
    if free_mb < LEAST_MB:
        return Finding(PART, "failure", "full", f"{there} has {free_mb} MB left", FREE_SOME)
    if free_mb < wanted_mb - _used_mb(directory):
        message = f"{there} has {free_mb} MB left, and spool.max_mb lets {wanted_mb} MB be kept"
        return Finding(PART, "warning", "low", message, FREE_SOME + "; or lower spool.max_mb")
    try:
        _try_to_write(there)
    except OSError as error:
        return _fails(there, error)
    return None


def _try_to_write(directory: Path) -> None:
    """Write a test file: only a write shows that a card is failing. Raises OSError."""
    handle = os.open(directory, FOLDER)
    try:
        write_and_delete(PROBE, handle, bytes(4096))
    finally:
        os.close(handle)


def _fails(directory: Path, error: OSError) -> Finding:
    hint = "see `dmesg`: a card that fails must be replaced"
    return Finding(PART, "failure", "not_written", f"{directory} cannot be used ({error.strerror})", hint)


def _is_service(directory: Path) -> bool:
    return directory.is_relative_to(paths.SYSTEM_STATE)


def _is_services_own(directory: Path) -> bool:
    """Whether a folder belongs to the user of the service, which systemd makes the owner of the outermost folder."""
    owner = directory.stat().st_uid
    return owner != 0 and owner == paths.SYSTEM_STATE.stat().st_uid


def _used_mb(directory: Path) -> int:
    try:
        return sum(one.lstat().st_size for one in directory.rglob("*")) // 1_000_000
    except OSError:
        return 0


def backlog(spool: Path, status: dict[str, Any] | None) -> list[Finding]:
    """Report long waits and quarantined files, as reported by the daemon or else as the file names show."""
    findings = []
    oldest_s, aside = _by_name(spool)
    if status is not None:
        aside = status["stats"]["quarantined"]
        if oldest_s is None and (oldest_at := status.get("backlog", {}).get("oldest_at")):
            oldest_s = time.time() - datetime.fromisoformat(oldest_at).timestamp()
    if oldest_s is not None and oldest_s > LONG_S:
        what = f"something has waited for its text for {oldest_s / 86_400:.0f} days"
        findings.append(Finding(PART, "warning", "waiting", what, "see why by `flowpi spool list`"))
    if aside:
        what = f"{aside} {'file' if aside == 1 else 'files'} of the spool cannot be read, or not to the end"
        hint = "`flowpi spool list` shows them, `flowpi spool export` gives what can be heard of them"
        findings.append(Finding(PART, "warning", "quarantine", what, hint))
    return findings


def _by_name(spool: Path) -> tuple[float | None, int]:
    """Return the age of the oldest utterance in seconds, or None, and the number of quarantined files."""
    try:
        parts = [part for part in map(part_of, os.listdir(spool)) if part is not None]
        folder = spool / QUARANTINE
        aside = len(os.listdir(folder)) if folder.is_dir() else 0
    except OSError:
        return None, 0
    return time.time() - ulid_unix_ms(min(parts).utterance) / 1000 if parts else None, aside


def told(status: dict[str, Any]) -> list[Finding]:
    """Return the disk faults reported by the daemon."""
    return [
        Finding(PART, "failure", "not_written", *_halves(fault["message"]))
        for fault in status["state"]["faults"]
        if fault["code"] in (SPOOL, TRANSCRIPTS)
    ]


def _halves(message: str) -> tuple[str, str]:
    """Split a fault's message into the error and its hint."""
    what, _, hint = message.partition(": ")
    return what, hint or FREE_SOME
