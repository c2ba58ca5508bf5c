"""systemd's own journald, alone: `tests.rig.disks.alone("tests.rig.journald", SCENARIO)` prints its entries.

`calls` makes some log calls in this process; `life PLACE` and `sinks PLACE` run the daemon with the stderr of a
service. journald has a
/run and files of its own in the mount namespace that `alone` makes, and ends with the program.
"""

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from flowpi.host.journal import SOCKET, JournalHandler
from flowpi.host.logfields import MessageId, fields
from tests.rig.appliance import Appliance
from tests.rig.disks import mounted
from tests.waiting import PATIENCE_S, wait_for

PROGRAM = "/lib/systemd/systemd-journald"
CATALOG = Path(__file__).parents[2] / "systemd" / "flowpi.catalog"
JOURNAL = Path("/run/log/journal")


@contextlib.contextmanager
def journald() -> Iterator[subprocess.Popen[bytes]]:
    with mounted("tmpfs", Path("/run"), kind="tmpfs", options="mode=0755"):
        Path("/run/systemd/journal").mkdir(parents=True)
        JOURNAL.mkdir(parents=True)
        with mounted("tmpfs", Path("/var/log"), kind="tmpfs", options="mode=0755"):
            # Nothing of this machine: neither the log of the kernel nor that of the audit subsystem is read.
            Path("/run/systemd/journald.conf.d").mkdir()
            Path("/run/systemd/journald.conf.d/alone.conf").write_text("[Journal]\nReadKMsg=no\nAudit=no\n")
            server = subprocess.Popen([PROGRAM], stderr=subprocess.DEVNULL)
            try:
                wait_for(lambda: Path(SOCKET).exists())
                yield server
            finally:
                server.terminate()
                server.wait(PATIENCE_S)


def entries(*wanted: str) -> list[dict[str, Any]]:
    """Return the entries that `journalctl` finds."""
    command = ["journalctl", f"--directory={JOURNAL}", "--output=json", "--all", *wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def explained(*wanted: str) -> str:
    """Return the output of `journalctl -x` with only flowpi's catalog."""
    made = Path("/run/catalog")
    made.mkdir()
    with mounted("tmpfs", Path("/var/lib/systemd"), kind="tmpfs", options="mode=0755"):
        Path("/var/lib/systemd/catalog").mkdir()
        with mounted("tmpfs", Path("/usr/lib/systemd/catalog"), kind="tmpfs", options="mode=0755"):
            Path("/usr/lib/systemd/catalog/flowpi.catalog").write_bytes(CATALOG.read_bytes())
            subprocess.run(["journalctl", "--update-catalog"], check=True, capture_output=True)
            command = ["journalctl", f"--directory={JOURNAL}", "--catalog", "--output=short", *wanted]
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def calls() -> dict[str, Any]:
    log = logging.getLogger("flowpi.rig")
    log.setLevel(logging.DEBUG)
    with journald() as server:
        handler = JournalHandler()
        log.addHandler(handler)
        log.info("two\nlines", extra=fields(MessageId.KEPT, part=("01ARZ3NDEKTSV4RRFFQ69G5FAV", 2), backend="cloud"))
        log.warning("a fault", extra=fields(MessageId.FAULT_RAISED, fault="silence"))
        log.info("x" * 300_000)
        wait_for(lambda: len(entries("SYSLOG_IDENTIFIER=flowpi")) == 3)
        found = {
            "entries": entries("SYSLOG_IDENTIFIER=flowpi"),
            "of the utterance": len(entries("UTTERANCE_ID=01ARZ3NDEKTSV4RRFFQ69G5FAV")),
            "explained": explained(f"MESSAGE_ID={MessageId.FAULT_RAISED.value}"),
            "pid": os.getpid(),
        }
        server.terminate()
        server.wait(PATIENCE_S)
        log.info("nobody is there")  # goes to stderr
    return found


def tree_of(appliance: Appliance, place: Path) -> dict[str, Any]:
    """Return a configuration."""
    return {
        "audio": {"source": "wav", "path": "flowpi/data/demo.wav"},
        "backends": {"local": {"kind": "flow", "url": appliance.url}},
        "publish": {"socket": {"path": str(appliance.socket)}, "files": {"directory": str(place / "transcripts")}},
        "spool": {"directory": str(appliance.spool)},
    }


def started(appliance: Appliance, place: Path) -> subprocess.Popen[bytes]:
    """Start the daemon with the stderr of a service, and return when it is ready."""
    program = [sys.executable, "-m", "tests.rig.led", str(place / "led"), *appliance.options, "-vv"]
    with stderr() as stream:
        status = os.fstat(stream.fileno())
        as_service = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}", "STATE_DIRECTORY": str(place / "state")}
        daemon = subprocess.Popen(
            program, stdout=stream.fileno(), stderr=stream.fileno(), env={**os.environ, **as_service}
        )
    _logged(MessageId.STARTED)
    return daemon


def life(place: Path) -> dict[str, Any]:
    """Run the daemon: ready, a text, a kept dictation, its text, a bad configuration, a good one, the end."""
    config = place / "flowpi.yaml"
    with journald(), Appliance(place, config=config) as appliance:
        tree = tree_of(appliance, place)
        config.write_text(json.dumps(tree))
        server = appliance.serve("echo")
        daemon = started(appliance, place)
        try:
            client = appliance.connect().subscribe("transcript/#")
            client.record("start")
            client.record("stop")
            text = client.wait("transcript/final")["text"]
            server.end()
            client.record("start")
            client.record("stop")
            _logged(MessageId.KEPT)
            _logged(MessageId.FAULT_RAISED)
            appliance.serve("echo")
            _logged(MessageId.LATE)
            _logged(MessageId.FAULT_CLEARED)
            config.write_text("audo: 1")
            daemon.send_signal(signal.SIGHUP)
            _logged(MessageId.NOT_RELOADED)
            config.write_text(json.dumps(tree))
            daemon.send_signal(signal.SIGHUP)
            _logged(MessageId.RELOADED)
        finally:
            daemon.terminate()
            code = daemon.wait(PATIENCE_S)
        _logged(MessageId.STOPPED)
        return {"code": code, "text": text, "entries": entries(f"_PID={daemon.pid}")}


def sinks(place: Path) -> dict[str, Any]:
    """Run the daemon with a webhook that is not reached, until its text is parked and that is forgotten."""
    config = place / "flowpi.yaml"
    with journald(), Appliance(place, config=config) as appliance, socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # never listens
        tree = tree_of(appliance, place)
        tree["publish"]["webhooks"] = {"desk": {"url": f"http://127.0.0.1:{nobody.getsockname()[1]}"}}
        config.write_text(json.dumps(tree))
        appliance.serve("echo")
        daemon = started(appliance, place)
        try:
            client = appliance.connect().subscribe("state", "sinks")
            client.wait("sinks", lambda sinks: sinks[0]["state"] == "open")
            client.record("start")
            client.record("stop")
            raised = f"MESSAGE_ID={MessageId.FAULT_RAISED.value}"
            wait_for(lambda: entries(raised, "FAULT=sink.webhook.desk"))
            state = client.wait("state", lambda state: state["state"] == "idle" and state["faults"])
            appliance.run("sinks", "skip", "webhook.desk")
            _logged(MessageId.TEXT_PARKED)
            wait_for(lambda: entries(raised, "FAULT=undelivered.webhook.desk"))
            appliance.run("sinks", "skip", "webhook.desk")
            wait_for(lambda: entries(f"MESSAGE_ID={MessageId.FAULT_CLEARED.value}", "FAULT=undelivered.webhook.desk"))
        finally:
            daemon.terminate()
            daemon.wait(PATIENCE_S)
        found = entries(f"_PID={daemon.pid}")
        return {"faults": state["faults"], "entries": found, "explained": explained()}


def stderr() -> socket.socket:
    """Return a standard error like that of a service with `StandardError=journal`."""
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stream.connect("/run/systemd/journal/stdout")
    name, unit, priority, has_prefixes, forwarded = b"flowpi", b"", b"6", b"1", b"0\n0\n0"
    stream.sendall(b"\n".join((name, unit, priority, has_prefixes, forwarded, b"")))
    return stream


def _logged(event: MessageId) -> None:
    wait_for(lambda: entries(f"MESSAGE_ID={event.value}"))


if __name__ == "__main__":
    scenario, *arguments = sys.argv[1:]
    scenarios: dict[str, Callable[..., dict[str, Any]]] = {"calls": calls, "life": life, "sinks": sinks}
    print(json.dumps(scenarios[scenario](*map(Path, arguments))))
