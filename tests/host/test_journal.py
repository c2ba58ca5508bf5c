"""Log records as journal entries: with a datagram socket in place of journald, and with journald itself."""

import errno
import json
import logging
import os
import re
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowpi.host.journal import CUT, MAX_BYTES, JournalHandler, LineFormatter, datagram
from flowpi.host.logfields import MessageId, fields
from tests.rig.disks import alone

UTTERANCE = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(tmp_path / "socket"))
        end.setblocking(False)
        yield end


@pytest.fixture
def handler(journal: socket.socket) -> Iterator[JournalHandler]:
    handler = JournalHandler(journal.getsockname())
    yield handler
    handler.close()


@pytest.fixture
def log(handler: JournalHandler) -> Iterator[logging.Logger]:
    logger = logging.getLogger("flowpi.test")
    logger.addHandler(handler)
    logger.propagate = False  # a command that ran in this process before may have left its handler on the root logger
    yield logger
    logger.propagate = True
    logger.removeHandler(handler)


def parsed(entry: bytes) -> dict[str, str]:
    """Return the fields of an entry as journald parses it."""
    found, at = {}, 0
    while at < len(entry):
        end = entry.index(b"\n", at)
        name, mark, value = entry[at:end].partition(b"=")
        at = end + 1
        if not mark:
            (size,) = struct.unpack_from("<Q", entry, at)
            value = entry[at + 8 : at + 8 + size]
            assert entry[at + 8 + size : at + 9 + size] == b"\n"
            at += size + 9
        found[name.decode()] = value.decode()
    return found


def test_a_line_has_the_fields_that_it_was_given_and_no_other(log: logging.Logger, journal: socket.socket) -> None:
    log.info("%d characters", 12, extra=fields(MessageId.DELIVERED, part=(UTTERANCE, 2), backend="cloud", state="idle"))
    assert parsed(journal.recv(10_000)) == {
        "MESSAGE": "12 characters",
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "flowpi",
        "MESSAGE_ID": "05534c731d914092a8e0d9a44a952080",
        "UTTERANCE_ID": UTTERANCE,
        "PART": "2",
        "BACKEND": "cloud",
        "STATE": "idle",
    }


@pytest.mark.parametrize(
    ("level", "priority", "place"),
    [
        (logging.DEBUG, "7", True),
        (logging.INFO, "6", False),
        (logging.WARNING, "4", True),
        (logging.ERROR, "3", True),
        (logging.CRITICAL, "3", True),
    ],
)
def test_the_place_in_the_code_goes_with_what_is_wrong(
    log: logging.Logger, journal: socket.socket, level: int, priority: str, place: bool
) -> None:
    log.log(level, "x")
    entry = parsed(journal.recv(10_000))
    assert entry["PRIORITY"] == priority
    assert [name for name in entry if name.startswith("CODE_")] == (
        ["CODE_FILE", "CODE_LINE", "CODE_FUNC"] if place else []
    )
    if place:
        assert entry["CODE_FILE"] == __file__
        assert entry["CODE_FUNC"] == "test_the_place_in_the_code_goes_with_what_is_wrong"


def test_a_traceback_is_one_entry(log: logging.Logger, journal: socket.socket) -> None:
    try:
        raise ValueError("one\ntwo")
    except ValueError:
        log.exception("it failed")
    message = parsed(journal.recv(100_000))["MESSAGE"]
    assert message.startswith("it failed\nTraceback (most recent call last):\n")
    assert message.endswith("ValueError: one\ntwo")


def test_what_no_journal_would_take_is_cut() -> None:
    (message,) = parsed(datagram({"MESSAGE": "\u20ac" * MAX_BYTES})).values()
    assert message.endswith("\u20ac" + CUT.decode())
    assert MAX_BYTES - 3 < len(message.encode()) <= MAX_BYTES


def test_half_a_character_is_harmless() -> None:
    assert parsed(datagram({"MESSAGE": "\udc80"})) == {"MESSAGE": "?"}


def test_without_a_journal_it_goes_to_stderr(
    log: logging.Logger, handler: JournalHandler, journal: socket.socket, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(journal.getsockname()).unlink()
    handler.setStream(sys.stderr)  # the one that this test captures
    log.warning("one\ntwo", extra=fields(fault="silence"))
    assert capsys.readouterr().err == "<4>one\n<4>two\n"


def test_a_service_that_may_have_no_socket_says_it_on_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The unit may have `RestrictAddressFamilies=none`."""

    def refused(*arguments: int) -> socket.socket:
        raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))

    monkeypatch.setattr(socket, "socket", refused)
    handler = JournalHandler()
    handler.handle(logging.LogRecord("flowpi", logging.WARNING, __file__, 1, "wrong", None, None))
    handler.close()
    assert capsys.readouterr().err == "<4>wrong\n"


def test_a_journal_that_does_not_read_never_blocks(
    log: logging.Logger, handler: JournalHandler, journal: socket.socket, capsys: pytest.CaptureFixture[str]
) -> None:
    handler.setStream(sys.stderr)
    for number in range(2000):
        log.info("line %d", number)
    taken = []
    while True:
        try:
            taken.append(parsed(journal.recv(10_000))["MESSAGE"])
        except BlockingIOError:
            break
    rest = [line.removeprefix("<6>") for line in capsys.readouterr().err.splitlines()]
    assert taken
    assert taken + rest == [f"line {number}" for number in range(2000)]


def test_a_journal_that_starts_again_is_found(log: logging.Logger, journal: socket.socket) -> None:
    path = Path(journal.getsockname())
    log.info("before")
    path.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as again:
        again.bind(str(path))
        again.setblocking(False)
        log.info("after")
        assert parsed(again.recv(10_000))["MESSAGE"] == "after"


@pytest.mark.parametrize(
    ("level", "line"),
    [(logging.DEBUG, "<7>x"), (logging.INFO, "<6>x"), (logging.WARNING, "<4>x"), (logging.CRITICAL, "<3>x")],
)
def test_a_line_of_stderr_has_its_priority(level: int, line: str) -> None:
    assert LineFormatter().format(logging.LogRecord("flowpi", level, "", 0, "x", (), None)) == line


def test_journald_itself() -> None:
    found = alone("tests.rig.journald", "calls")
    kept, fault, large = found["entries"]
    assert kept["MESSAGE"] == "two\nlines"
    assert kept["_TRANSPORT"] == "journal"
    assert kept["_PID"] == str(found["pid"])
    assert (kept["UTTERANCE_ID"], kept["PART"], kept["BACKEND"]) == (UTTERANCE, "2", "cloud")
    assert kept["MESSAGE_ID"] == MessageId.KEPT.value
    assert found["of the utterance"] == 1
    assert fault["PRIORITY"] == "4"
    assert fault["CODE_FUNC"] == "calls"
    assert len(large["MESSAGE"]) == MAX_BYTES
    assert "Subject: Something is wrong: silence" in found["explained"]
    assert "flowpi doctor" in found["explained"]


def test_a_life_of_the_daemon_in_its_journal(tmp_path: Path) -> None:
    found = alone("tests.rig.journald", "life", tmp_path)
    assert found["code"] == 0
    names = {one.value: one.name for one in MessageId}
    events = [names[entry["MESSAGE_ID"]] for entry in found["entries"] if "MESSAGE_ID" in entry]
    assert events[:2] == ["STARTED", "DELIVERED"]
    of_sinks = {"TEXT_PARKED", "TEXTS_EXPIRED"}
    of_others = {"COMMAND_GAVE_UP", "COMMAND_NOT_STARTED", "DAEMON_ABSENT", "NOT_TYPED"}
    assert set(events) == set(names.values()) - of_sinks - of_others - {"FAILED"}
    assert events[-2:] == ["RELOADED", "STOPPED"]
    about = {
        names[entry["MESSAGE_ID"]]: {
            name: entry[name] for name in ("UTTERANCE_ID", "PART", "BACKEND", "FAULT") if name in entry
        }
        for entry in found["entries"]
        if "MESSAGE_ID" in entry
    }
    assert about["KEPT"].keys() == {"UTTERANCE_ID", "PART"}
    assert about["LATE"] == {**about["KEPT"], "BACKEND": "local"}
    assert about["DELIVERED"]["UTTERANCE_ID"] < about["KEPT"]["UTTERANCE_ID"]
    assert about["FAULT_RAISED"] == about["FAULT_CLEARED"] == {"FAULT": "backend"}
    assert not [entry for entry in found["entries"] if found["text"] in json.dumps(entry)]


def test_the_trouble_of_a_sink_is_in_the_journal_and_in_the_state(tmp_path: Path) -> None:
    found = alone("tests.rig.journald", "sinks", tmp_path)
    names = {one.value: one.name for one in MessageId}
    events = [
        (names[entry["MESSAGE_ID"]], entry["FAULT"])
        for entry in found["entries"]
        if "MESSAGE_ID" in entry and "FAULT" in entry
    ]
    sink, undelivered = "sink.webhook.desk", "undelivered.webhook.desk"
    assert events[0] == ("FAULT_RAISED", sink)
    assert set(events) == {
        ("FAULT_RAISED", sink),
        ("TEXT_PARKED", undelivered),
        ("FAULT_RAISED", undelivered),
        ("FAULT_CLEARED", sink),
        ("FAULT_CLEARED", undelivered),
    }
    (parked,) = [entry for entry in found["entries"] if entry.get("MESSAGE_ID") == MessageId.TEXT_PARKED.value]
    (delivered,) = [entry for entry in found["entries"] if entry.get("MESSAGE_ID") == MessageId.DELIVERED.value]
    assert (parked["UTTERANCE_ID"], parked["PART"]) == (delivered["UTTERANCE_ID"], "1")
    assert "Subject: A text is parked: undelivered.webhook.desk" in found["explained"]
    assert [fault["code"] for fault in found["faults"]] == [sink]


CATALOG = Path(__file__).parents[2] / "systemd" / "flowpi.catalog"


def test_the_catalog_has_each_id_once_and_says_what_to_do() -> None:
    entries = re.findall(r"^-- ([0-9a-f]{32})\nSubject: ([^\n]+)\nDefined-By: flowpi\n\n(.+?)(?=^-- |\Z)",
                         CATALOG.read_text(), re.MULTILINE | re.DOTALL)  # fmt: skip
    assert [id for id, _, _ in entries] == [one.value for one in MessageId]
    assert all(len(text) > 30 for _, _, text in entries)
    assert CATALOG.read_text().count("\n-- ") == len(entries)
