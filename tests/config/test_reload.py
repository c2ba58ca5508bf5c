"""What a reload applies, and what waits for the next start."""

from typing import Any

import pytest

from flowpi.config.loading import load
from flowpi.config.reload import applied
from flowpi.config.schema import Config


@pytest.mark.parametrize(
    ("override", "waiting"),
    [
        ("audio.preroll_ms=0", []),
        ("button.mode=hold", []),
        ("led.night={from: '21:00'}", []),
        ("cues.kind=alsa", []),
        ("dictation.max_utterance_s=60", []),
        ("backends.local.url=ws://127.0.0.1:1/ws", []),
        ("backends.house={kind: flow, url: 'wss://h/ws'}", []),
        ("context={user_first_name: Ada}", []),
        ("spool.max_mb=7", []),
        ("publish.max_lag_days=90", []),
        ("device_id=desk", ["device_id"]),
        ("spool.sync_ms=1", ["spool.sync_ms"]),
        ("spool={directory: /s, keep_audio: true}", ["spool.directory", "spool.keep_audio"]),
        ("publish.socket.group=null", ["publish.socket.group"]),
        ("publish.files.keep_days=1", ["publish.files.keep_days"]),
    ],
)
def test_a_change_is_applied_or_waits(override: str, waiting: list[str]) -> None:
    running, new = Config(), load(None, [override])
    assert new != running
    result = applied(new, running)
    assert result == (running if waiting else new, waiting)


def test_what_waits_does_not_keep_the_rest_from_being_applied() -> None:
    config, waiting = applied(load(None, ["spool={sync_ms: 1, max_mb: 7}", "device_id=desk"]), Config())
    assert (config.spool.sync_ms, config.spool.max_mb, config.device_id) == (1000, 7, None)
    assert waiting == ["device_id", "spool.sync_ms"]


def test_the_keys_of_the_server_are_not_the_daemons() -> None:
    new = load(None, ["server.engine=echo"])
    settings: Any = applied(new, Config())
    assert settings == (new, [])
