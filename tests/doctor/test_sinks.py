"""What the doctor says of the sinks of a daemon."""

from typing import Any

import msgspec
import pytest

from flowpi.config.schema import Config
from flowpi.doctor import sinks
from flowpi.publish.messages import SinkPayload


def sink(**members: Any) -> dict[str, Any]:
    one = SinkPayload("mqtt", "open", None, 0, None, None, None, 0, 0)
    return {**msgspec.to_builtins(one), **members}


def found(monkeypatch: pytest.MonkeyPatch, status: dict[str, Any] | None) -> list[tuple[str, str, str, str]]:
    monkeypatch.setattr(sinks, "status_of", lambda config: status)
    return [(one.level, one.code, one.message, one.hint) for one in sinks.examine(Config())]


@pytest.mark.parametrize("status", [None, {}, {"sinks": []}], ids=["no_daemon", "older_daemon", "no_sink"])
def test_without_a_sink_there_is_nothing_to_say(monkeypatch: pytest.MonkeyPatch, status: dict[str, Any]) -> None:
    assert found(monkeypatch, status) == []


def test_one_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    old = sink(error="it was full", error_at="2026-11-29T12:00:00.000Z", waiting=2)
    assert found(monkeypatch, {"sinks": [old]}) == [("ok", "works", "mqtt accepts texts", "")]


def test_one_that_is_not_open_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(monkeypatch, {"sinks": [sink(state="opening")]}) == [("ok", "works", "mqtt is not open yet", "")]


def test_each_fault_has_a_code_and_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = sink(state="failing", error="nobody\x1b[31m is there", waiting=7, parked=2, missed=3)
    result = found(monkeypatch, {"sinks": [bad, sink(name="hook")]})
    assert [(level, code) for level, code, _, _ in result] == [
        ("warning", "not_accepting"),
        ("warning", "parked"),
        ("warning", "missed"),
        ("ok", "works"),
    ]
    assert result[0][2].startswith("mqtt does not accept texts: nobody")
    assert result[0][2].endswith("; 7 texts wait")
    assert "\x1b" not in result[0][2]
    assert all("`flowpi sinks " in hint for _, _, _, hint in result[:3])
