"""systemd's own journald, alone: `tests.rig.disks.alone("tests.rig.journald")` prints what it made of some log calls.

It has /run and its files to itself in the mount namespace that `alone` makes, and ends with the program.
"""

import contextlib
import json
import logging
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flowpi.host.journal import SOCKET, JournalHandler
from flowpi.host.logfields import MessageId, fields
from tests.rig.disks import mounted
from tests.waiting import PATIENCE_S

PROGRAM = "/lib/systemd/systemd-journald"
CATALOG = Path(__file__).parents[2] / "systemd" / "flowpi.catalog"
JOURNAL = Path("/run/log/journal")


@contextlib.contextmanager
def journald() -> Iterator[subprocess.Popen[bytes]]:
    with mounted("tmpfs", Path("/run"), kind="tmpfs", options="mode=0755"):
        Path("/run/systemd/journal").mkdir(parents=True)
        JOURNAL.mkdir(parents=True)
        with mounted("tmpfs", Path("/var/log"), kind="tmpfs", options="mode=0755"):
            # Nothing of this machine's: neither the kernel's log nor the audit's is read.
            Path("/run/systemd/journald.conf.d").mkdir()
            Path("/run/systemd/journald.conf.d/alone.conf").write_text("[Journal]\nReadKMsg=no\nAudit=no\n")
            server = subprocess.Popen([PROGRAM], stderr=subprocess.DEVNULL)
            try:
                _wait(lambda: Path(SOCKET).exists())
                yield server
            finally:
                server.terminate()
                server.wait(PATIENCE_S)


def entries(*wanted: str) -> list[dict[str, Any]]:
    """What `journalctl` finds."""
    command = ["journalctl", f"--directory={JOURNAL}", "--output=json", "--all", *wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def explained(*wanted: str) -> str:
    """What `journalctl -x` says, with the catalog of flowpi alone."""
    made = Path("/run/catalog")
    made.mkdir()
    with mounted("tmpfs", Path("/var/lib/systemd"), kind="tmpfs", options="mode=0755"):
        Path("/var/lib/systemd/catalog").mkdir()
        with mounted("tmpfs", Path("/usr/lib/systemd/catalog"), kind="tmpfs", options="mode=0755"):
            Path("/usr/lib/systemd/catalog/flowpi.catalog").write_bytes(CATALOG.read_bytes())
            subprocess.run(["journalctl", "--update-catalog"], check=True, capture_output=True)
            command = ["journalctl", f"--directory={JOURNAL}", "--catalog", "--output=short", *wanted]
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _wait(condition: Any) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "journald does not do it"
        time.sleep(0.01)


def main() -> None:
    log = logging.getLogger("flowpi.rig")
    log.setLevel(logging.DEBUG)
    with journald() as server:
        handler = JournalHandler()
        log.addHandler(handler)
        log.info("two\nlines", extra=fields(MessageId.KEPT, part=("01ARZ3NDEKTSV4RRFFQ69G5FAV", 2), backend="cloud"))
        log.warning("a fault", extra=fields(MessageId.FAULT_RAISED, fault="silence"))
        log.info("x" * 300_000)
        _wait(lambda: len(entries("SYSLOG_IDENTIFIER=flowpi")) == 3)
        found = {
            "entries": entries("SYSLOG_IDENTIFIER=flowpi"),
            "of the utterance": len(entries("UTTERANCE_ID=01ARZ3NDEKTSV4RRFFQ69G5FAV")),
            "explained": explained(f"MESSAGE_ID={MessageId.FAULT_RAISED.value}"),
            "pid": os.getpid(),
        }
        server.terminate()
        server.wait(PATIENCE_S)
        log.info("nobody is there")  # to stderr
    print(json.dumps(found))


if __name__ == "__main__":
    main()
