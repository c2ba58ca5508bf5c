"""`flowpi sinks`, with a daemon whose answers a test determines."""

import json
from pathlib import Path
from typing import Any

import pytest

from flowpi.cli.sinks import sinks
from flowpi.cli.status import status as print_status
from flowpi.config.schema import Config
from flowpi.core.errors import UsageError
from tests.cli.test_daemon_commands import BACKLOG, STATE, STATS, Daemon, error
from tests.cli.test_daemon_commands import daemon as daemon  # the fixture

ONE: dict[str, Any] = {
    "name": "mqtt", "state": "failing", "last": {"id": "01KAJ6M2Y4T0Q3V6Z7R8N9P1AB", "part": 2}, "waiting": 1,
    "oldest_at": "2026-11-29T11:00:00.000Z", "error": "no\x1bbody", "error_at": "2026-11-29T12:00:00.000Z",
    "parked": 1, "missed": 2,
}  # fmt: skip
OTHER = {**ONE, "name": "hook", "state": "open", "last": None, "waiting": 0, "parked": 0, "missed": 0}
PARKED = [{"sink": "mqtt", "id": "01KAJ6M2Y4T0Q3V6Z7R8N9P1AA", "part": 1, "reason": "too long"}]
LIST = {"response": 1, "ok": True, "sinks": [ONE, OTHER], "parked": PARKED, "more": False}


def test_for_a_person(daemon: Any, capsys: pytest.CaptureFixture[str]) -> None:
    one: Daemon = daemon([LIST])
    assert sinks(one.config, "list", [], as_json=False) == 0
    assert capsys.readouterr().out.splitlines() == [
        "mqtt            failing since 2026-11-29T12:00:00.000Z: no body; 1 text waiting, the oldest of "
        "2026-11-29T11:00:00.000Z; 1 parked; 2 expired before it had them",
        "                has 01KAJ6M2Y4T0Q3V6Z7R8N9P1AB.2",
        "                parked 01KAJ6M2Y4T0Q3V6Z7R8N9P1AA: too long",
        "hook            open",
    ]
    assert one.heard == [{"command": "sinks", "action": "list", "request": 1}]


def test_for_a_program(daemon: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert sinks(daemon([LIST]).config, "list", ["mqtt"], as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == {"sinks": [ONE, OTHER], "parked": PARKED}


def test_none_is_said_on_stderr(daemon: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert sinks(daemon([{**LIST, "sinks": [], "parked": []}]).config, "list", [], as_json=False) == 0
    out, err = capsys.readouterr()
    assert (out, err) == ("", "no sink is configured: texts go to the socket and the transcripts\n")


@pytest.mark.parametrize(
    ("action", "count", "said"),
    [
        ("retry", 1, "1 sink will be tried now\n"),
        ("retry", 2, "2 sinks will be tried now\n"),
        ("skip", 3, "3 texts passed over\n"),
    ],
)
def test_what_was_done_is_said(
    daemon: Any, capsys: pytest.CaptureFixture[str], action: str, count: int, said: str
) -> None:
    one: Daemon = daemon([{"response": 1, "ok": True, "count": count}])
    assert sinks(one.config, action, ["mqtt"], as_json=False) == 0
    assert capsys.readouterr().out == said
    assert one.heard == [{"command": "sinks", "action": action, "sinks": ["mqtt"], "request": 1}]


def test_an_unknown_one(daemon: Any) -> None:
    with pytest.raises(UsageError, match=r"^why$"):
        sinks(daemon([error("no_such_sink")]).config, "retry", ["mqt"], as_json=False)


@pytest.mark.parametrize(("action", "as_json"), [("skip", False), ("retry", True)])
def test_what_cannot_be_is_said_before_the_daemon_is_asked(tmp_path: Path, action: str, as_json: bool) -> None:

    with pytest.raises(UsageError, match=r"which sink|for the list"):
        sinks(Config(), action, [], as_json=as_json)


def test_status_has_a_line_for_each(daemon: Any, capsys: pytest.CaptureFixture[str]) -> None:
    now = {"state": STATE, "stats": STATS, "backlog": BACKLOG, "sinks": [OTHER]}
    print_status(daemon([{"response": 1, "ok": True, "status": now}]).config, as_json=False, follow=False)
    assert "sink hook       open\n" in capsys.readouterr().out
