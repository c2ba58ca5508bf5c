"""The pages on MQTT and Home Assistant: what they show loads, and what they name is there."""

import json
from pathlib import Path

import pytest
import yaml

from flowpi.config.loading import load
from flowpi.publish.messages import Request
from flowpi.publish.mqtt.commands import ACTIONS
from flowpi.publish.mqtt.discovery import Device, discovery
from flowpi.publish.mqtt.outgoing import Topics
from tests.docs.documents import blocks, code, rows, section, text_of

MQTT, HOME_ASSISTANT = "docs/mqtt.md", "docs/home-assistant.md"


@pytest.mark.parametrize("document", [MQTT, HOME_ASSISTANT])
def test_the_configuration_loads_without_a_warning(document: str, tmp_path: Path) -> None:
    example = next(block for block in blocks("yaml", text_of(document)) if "publish:" in block)
    file = tmp_path / "f.yaml"
    file.write_text(example)
    assert load(str(file)).publish.mqtt.url


def test_home_assistant_shows_the_entities_of_the_page(tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_text(blocks("yaml", text_of(HOME_ASSISTANT))[0])
    settings = load(str(file)).publish.mqtt
    message = discovery(Device("front-desk", "x", "0"), Topics.of(settings, "front-desk"), settings)
    shown = {one["name"] for one in json.loads(message.payload)["components"].values() if "name" in one}
    named = [name for row in rows(section(HOME_ASSISTANT, "Entities"))[1:] for name in row[0].split(", ")]
    assert sorted(named) == sorted(shown)


def test_the_automation_acts_on_the_entity_that_home_assistant_makes() -> None:
    (automation,) = (yaml.safe_load(one) for one in blocks("yaml", text_of(HOME_ASSISTANT)) if "triggers:" in one)
    assert automation["triggers"][0]["entity_id"] == "event.front_desk_transcript"


def test_the_command_of_the_page_is_one() -> None:
    (line,) = blocks("sh", section(MQTT, "Commands"))
    request = Request(**json.loads(line[line.index("{") : line.rindex("}") + 1]))
    assert request.action in ACTIONS[str(request.command)]


def test_the_topics_of_the_page() -> None:
    topics = [code(row[0])[0] for row in rows(section(MQTT, "Topics"))[1:]]
    assert topics == ["transcript/last", "command", "response"]
