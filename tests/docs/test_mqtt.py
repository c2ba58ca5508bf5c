"""The pages on MQTT and Home Assistant: what they show loads, and what they name is there."""

import json
from pathlib import Path

import pytest
import yaml

from flowpi.config.loading import load
from flowpi.config.mqtt import MqttSettings
from flowpi.core.topics import matches
from flowpi.publish.messages import Request
from flowpi.publish.mqtt.commands import ACTIONS
from flowpi.publish.mqtt.discovery import Device, discovery
from flowpi.publish.mqtt.outgoing import Topics
from tests.docs.documents import blocks, code, rows, section, text_of
from tests.publish.test_files import final

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
    assert topics == ["transcript/last", "command", "response", "cursor"]
    settings = load(None, ["publish.mqtt.url=mqtt://broker"]).publish.mqtt
    has = Topics.of(settings, "desk")
    assert [f"flowpi/desk/{topic}" for topic in topics[1:]] == [has.command, has.response, has.cursor]


def test_the_flow_for_node_red_reads_what_is_published_and_misses_nothing_meanwhile() -> None:
    """Its form was checked with Node-RED 4.1: see the page for how it is used."""
    (example,) = blocks("json", section(MQTT, "Recipes"))
    nodes = {node["id"]: node for node in json.loads(example)}
    assert all(node.get("z", "flowpi.tab") == "flowpi.tab" for node in nodes.values())
    assert all(target in nodes for node in nodes.values() for (target,) in node.get("wires", []))
    reader, shown = nodes["flowpi.texts"], nodes["flowpi.show"]
    published = Topics.of(MqttSettings(), "front-desk").final(final(1))
    assert matches(reader["topic"], published.topic)
    assert (reader["qos"], reader["datatype"]) == (str(published.qos), "json")
    assert shown["complete"] == "payload.text"
    assert json.loads(published.payload)["text"] == final(1).text
    broker = nodes[reader["broker"]]
    assert (broker["cleansession"], broker["autoUnsubscribe"]) == (False, False)
    assert f"-x {broker['sessionExpiry']} " in section(MQTT, "What is promised")
