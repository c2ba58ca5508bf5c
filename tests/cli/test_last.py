"""`flowpi last` and `flowpi listen --since`, with a daemon whose answers a test determines, and with a real one."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from flowpi.cli.last import last
from flowpi.cli.listen import listen
from flowpi.config.schema import Config
from flowpi.core.errors import DaemonUnavailable, UsageError
from flowpi.core.ulid import ulid_unix_ms
from tests.cli.test_daemon_commands import FINAL, Daemon, error
from tests.cli.test_daemon_commands import daemon as daemon  # the fixture
from tests.rig.appliance import Appliance
from tests.rig.microphone import Microphone


def answer(*texts: str, more: bool = False) -> dict[str, Any]:
    return {"response": 1, "ok": True, "transcripts": [{**FINAL, "text": text} for text in texts], "more": more}


def test_the_last_one(daemon: Any, capsys: pytest.CaptureFixture[str]) -> None:
    one: Daemon = daemon([answer("Two\nlines \x1b.", more=True)])
    assert last(one.config, 1, as_json=False) == 0
    assert capsys.readouterr().out == "Two lines  .\n"
    assert one.heard == [{"command": "transcripts", "order": "newest", "limit": 1, "request": 1}]


def test_several_in_the_order_of_speech(daemon: Any, capsys: pytest.CaptureFixture[str]) -> None:
    one: Daemon = daemon([answer("Four.", "Three.", more=True)], [answer("Two.", "One.", more=True)])
    assert last(one.config, 4, as_json=True) == 0
    assert [text["text"] for text in json.loads(capsys.readouterr().out)] == ["One.", "Two.", "Three.", "Four."]
    assert one.heard[1]["after"] == {"id": FINAL["id"], "part": 1}
    assert one.heard[1]["limit"] == 2


def test_none_yet(daemon: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert last(daemon([answer()]).config, 3, as_json=False) == 0
    assert capsys.readouterr() == ("", "there is no text yet\n")


def test_listen_since(daemon: Any) -> None:
    one: Daemon = daemon([{"subscribed": []}, error("shutting_down")])
    before = time.time()
    with pytest.raises(DaemonUnavailable):
        listen(one.config, filters=[], text_only=True, since="2h")
    (heard,) = one.heard
    assert heard["subscribe"] == ["transcript/final"]
    assert heard["after"]["part"] == 0
    begun_s = ulid_unix_ms(heard["after"]["id"]) / 1000
    assert before - 7200.001 <= begun_s <= time.time() - 7199.999


@pytest.mark.parametrize(
    ("since", "filters", "message"),
    [
        ("yesterday", [], "'yesterday' is no time for --since: write 2h, 30m, 1d, 14:30, 2026-11-29 or "),
        ("9999999-01-01", [], "is no time for --since"),
        ("2h", ["state"], "--since prints final texts, and no FILTER is for them: add transcript/final"),
    ],
)
def test_what_is_wrong_is_said_before_the_daemon_is_asked(since: str, filters: list[str], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        listen(Config(), filters=filters, since=since)
    assert message in str(raised.value)


def test_with_a_real_daemon(tmp_path: Path, microphone: Microphone) -> None:
    with Appliance(tmp_path, "audio.device=clock") as appliance:
        appliance.serve("echo")
        appliance.start()

        said = []
        for _ in range(2):
            appliance.flowpi("record", "start")
            said.append(appliance.flowpi("record", "stop", "--wait")[1])
        assert appliance.flowpi("last") == (0, said[1], "")
        assert appliance.flowpi("last", "5") == (0, "".join(said), "")
        assert appliance.flowpi("listen", "--text", "--since", "1h", "-n", "2") == (0, "".join(said), "")
        code, out, _ = appliance.flowpi("sinks")
        assert (code, out) == (0, "")
