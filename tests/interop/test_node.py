"""Node dictates: WebSocket and MessagePack as others have written them, the dialects as the services describe them.

`make test` installs what `package.json` asks for.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.interop.conftest import DEMO_TEXT, DEMO_WAV, WORD_ERRORS_MAX
from tests.speech import word_error_rate
from tests.waiting import PATIENCE_S

HERE = Path(__file__).parent


def dictate(dialect: str, url: str) -> dict[str, Any]:
    """What `dictate.mjs` reports."""
    command = ["node", str(HERE / "dictate.mjs"), dialect, url, str(DEMO_WAV)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3 * PATIENCE_S)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.mark.parametrize("dialect", ["flow", "flow-msgpack"])
def test_flow(strict_server: str, dialect: str) -> None:
    report = dictate(dialect, strict_server)
    (text,) = report["texts"]
    assert word_error_rate(DEMO_TEXT, text) <= WORD_ERRORS_MAX
    assert report["messages"][0] == {"status": "auth"}
    assert {"status": "info", "message": {"event": "commit_received"}} in report["messages"]
    assert report["messages"][-1]["body"] == {"text": text, "detected_language": "en"}
    assert report["messages"][-1]["final"] is True
    assert report["closes"] == [1000]


def test_suki(strict_server: str) -> None:
    report = dictate("suki", strict_server)
    assert len(report["texts"]) == 2
    for text in report["texts"]:
        assert word_error_rate(DEMO_TEXT, text) <= WORD_ERRORS_MAX
    assert report["messages"][-1] == {"transcript": {"transcript": "EOF"}}
    assert report["closes"] == [1000, 1000]
