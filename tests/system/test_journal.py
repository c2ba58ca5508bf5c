"""The journal entries of a dictation: fields for searches, help texts, and no word of the dictated text."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from flowpi.host.logfields import MessageId
from tests.rig.container import Container
from tests.system.talking import FINAL, speak_from_file

pytestmark = pytest.mark.nspawn

DICTATE = "flowpi record start && sleep 4 && flowpi record stop"

SAY_ALL = "for unit in flowpi flowpi-asr; do mkdir -p /etc/systemd/system/$unit.service.d; done\n" + "".join(
    f"printf '[Service]\\nExecStart=\\nExecStart=/opt/flowpi/bin/flowpi {command} -vv\\n' "
    f"> /etc/systemd/system/{unit}.service.d/verbose.conf\n"
    for unit, command in (("flowpi", "run"), ("flowpi-asr", "serve"))
)


def entries(container: Container, event: MessageId) -> list[dict[str, Any]]:
    lines = container.sh(f"journalctl --no-pager --output=json MESSAGE_ID={event.value}").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def explained(container: Container, event: MessageId) -> str:
    return container.sh(f"journalctl --no-pager --catalog MESSAGE_ID={event.value}")


@pytest.fixture
def verbose(installed: Container) -> Container:
    """An appliance whose services log at DEBUG."""
    installed.sh(SAY_ALL + "systemctl daemon-reload; systemctl restart flowpi-asr")
    return installed


def test_a_dictation_can_be_found_and_not_read(verbose: Container, spoken: Path) -> None:
    speak_from_file(verbose, spoken)
    verbose.until("systemctl is-active flowpi-asr")
    verbose.sh(DICTATE)
    (line,) = verbose.until(FINAL).splitlines()
    text = json.loads(line)
    (entry,) = entries(verbose, MessageId.DELIVERED)
    assert entry["UTTERANCE_ID"] == text["id"]
    assert entry["BACKEND"] == text["backend"] == "local"
    assert entry["_SYSTEMD_UNIT"] == "flowpi.service"
    words_of_help = explained(verbose, MessageId.DELIVERED)
    assert f"The text of dictation {text['id']} came from the backend 'local'" in words_of_help

    journal = verbose.sh("journalctl --no-pager --output=export").lower()
    assert entry["UTTERANCE_ID"].lower() in journal
    assert "priority=7" in journal, "and also what DEBUG says"
    assert text["text"].lower() not in journal
    words = {word for word in re.findall(r"[a-z]+", text["text"].lower()) if len(word) > 4}
    assert words
    assert not words & set(re.findall(r"[a-z]+", journal))


def test_one_that_waits_for_its_text(installed: Container, spoken: Path) -> None:
    installed.sh("systemctl mask --now flowpi-asr")
    speak_from_file(installed, spoken)
    installed.sh(DICTATE)
    installed.until(f"journalctl --no-pager MESSAGE_ID={MessageId.KEPT.value} | grep kept")
    (kept,) = entries(installed, MessageId.KEPT)
    assert "Its sound is kept" in explained(installed, MessageId.KEPT)
    installed.sh("systemctl unmask flowpi-asr; systemctl start flowpi-asr; flowpi spool retry")
    (line,) = installed.until(FINAL).splitlines()
    (late,) = entries(installed, MessageId.LATE)
    assert late["UTTERANCE_ID"] == kept["UTTERANCE_ID"] == json.loads(line)["id"]
    assert late["BACKEND"] == "local"


def test_a_fault_and_its_end(installed: Container, spoken: Path) -> None:
    installed.until("systemctl is-active flowpi")
    raised = entries(installed, MessageId.FAULT_RAISED)
    assert "microphone" in {entry["FAULT"] for entry in raised}
    assert "Something is wrong: microphone" in explained(installed, MessageId.FAULT_RAISED)
