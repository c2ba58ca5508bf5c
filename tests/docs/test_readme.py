"""The README is true: its tables are those of the code, its programs run."""

import argparse
import json
import os
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from flowpi.cli import main as cli
from flowpi.config.loading import load, masked
from flowpi.config.schema import Config, FlowSettings, Secret, SukiSettings
from flowpi.core import errors, lights, topics
from flowpi.core.faults import KINDS
from flowpi.core.lights import Pattern
from flowpi.publish import messages
from tests.rig.appliance import PATIENCE_S, Appliance
from tests.rig.microphone import Microphone

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
DOCUMENTS = [README, *(file.read_text() for file in sorted((ROOT / "docs").glob("*.md")))]


def section(title: str) -> str:
    """From a heading to the next of its level."""
    heading = rf"^(#+) {re.escape(title)}\n(.*?)(?=^\1 |\Z)"
    found = [match[2] for text in DOCUMENTS for match in re.finditer(heading, text, re.MULTILINE | re.DOTALL)]
    assert len(found) == 1, f"{len(found)} sections {title!r}"
    return found[0]


def blocks(language: str, text: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def rows(text: str) -> list[list[str]]:
    """The cells of all tables in it."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


# Configuration


def settings(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from settings(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def backend_settings(kind: type[msgspec.Struct]) -> Iterator[tuple[str, Any]]:
    for field in msgspec.structs.fields(kind):
        default = "none" if field.default is msgspec.NODEFAULT else field.default
        yield f"backends.NAME.{field.name}", msgspec.to_builtins(default)


def documented() -> list[tuple[str, str]]:
    """Key and default of each row, the default as JSON."""
    table = rows(section("Every key of the configuration"))
    cells = [row for row in table if len(row) == 3 and code(row[0]) and not row[0].startswith("key")]
    defaults = [yaml.safe_load((code(default) or [default])[0]) for _, default, _ in cells]
    return [(code(cell[0])[0], json.dumps(default)) for cell, default in zip(cells, defaults, strict=True)]


def test_every_key_and_its_default_is_in_the_tables() -> None:
    known = masked(Config())
    del known["backends"]
    local = {"backends.NAME.url": masked(Config())["backends"]["local"]["url"]}
    flow = {**dict(backend_settings(FlowSettings)), **local}
    wanted = [*settings(known), *flow.items(), *backend_settings(SukiSettings)]
    assert sorted(documented()) == sorted((key, json.dumps(default)) for key, default in wanted)


def test_the_examples_are_good_configurations(tmp_path: Path) -> None:
    examples = blocks("yaml", section("Where the text comes from"))
    assert len(examples) == 3
    for example in [*examples, *blocks("yaml", section("Configuration"))]:
        file = tmp_path / "flowpi.yaml"
        file.write_text(example)
        config = load(str(file))
        assert set(config.dictation.backends) <= set(config.backends)
    cloud = re.search(r"\{credential: (\S+)\}", examples[0])
    assert cloud
    assert f"--name={cloud[1]} " in section("Wispr Flow in the cloud")
    assert f"LoadCredentialEncrypted={cloud[1]}:" in section("Wispr Flow in the cloud")
    assert Secret.parse({"credential": cloud[1]})


# Commands


def commands(parser: argparse.ArgumentParser, above: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, sub in action.choices.items():
                yield f"{above}{name}", sub
                yield from commands(sub, f"{above}{name} ")


def test_every_command_is_in_the_table_with_its_options() -> None:
    text = section("Commands")
    table = {code(row[0])[0].split()[1]: " ".join(row) for row in rows(text) if row[0].startswith("`flowpi")}
    known = dict(commands(cli.parser()))
    assert set(table) == {name for name in known if " " not in name}
    for name, parser in known.items():
        command, _, action = name.partition(" ")
        assert action in table[command]
        for option in parser._actions:
            choices = [] if option.option_strings else [str(choice) for choice in option.choices or ()]
            for word in option.option_strings[:1] or choices or [str(option.metavar)]:
                assert word == "-h" or f"`{word}" in text or word in table[command], f"{name}: {word}"


def test_no_command_is_named_that_does_not_exist() -> None:
    known = {name.partition(" ")[0] for name, _ in commands(cli.parser())}
    named = re.findall(r"(?:`|^|\bsudo |bin/)flowpi ((?:-\S+ \S+ )*)([a-z]+)", README, re.MULTILINE)
    words = {word for _, word in named}
    assert len(words) > 5
    assert words <= known


def error_classes(root: type[errors.FlowpiError]) -> Iterator[type[errors.FlowpiError]]:
    yield root
    for kind in root.__subclasses__():
        yield from error_classes(kind)


def test_every_exit_code_is_in_the_table() -> None:
    listed = {int(number) for row in rows(section("Commands")) for number in re.findall(r"\d+", row[0])}
    ours = {kind.exit_code for kind in error_classes(errors.FlowpiError)}
    assert listed == ours | {0, cli.EXIT_INTERNAL, cli.EXIT_INTERRUPTED, cli.EXIT_BROKEN_PIPE}


# LED


@pytest.mark.parametrize("pattern", lights.ALL, ids=lambda pattern: pattern.name)
def test_every_pattern_of_the_led_is_drawn_and_explained(pattern: Pattern) -> None:
    text = section("Button and LED")
    assert f"\n{pattern.name:<14} {lights.drawing(pattern)}\n" in text
    assert [row[0] for row in rows(text)].count(pattern.name) == 1


# What is published


def test_every_topic_and_its_members_are_in_the_table() -> None:
    payloads = {
        topics.STATE: messages.StatePayload,
        topics.PARTIAL: messages.Partial,
        topics.FINAL: messages.Final,
        topics.FAILED: messages.Failed,
        topics.BUTTON: messages.ButtonPayload,
        topics.STATS: messages.Stats,
    }
    table = {code(row[0])[0]: row for row in rows(section("Topics")) if code(row[0])}
    known = {value for name, value in vars(topics).items() if name.isupper() and isinstance(value, str)}
    assert set(table) == known
    assert {topic for topic, row in table.items() if row[1] == "yes"} == topics.RETAINED
    for topic, payload in payloads.items():
        assert code(table[topic][2]) == list(payload.__struct_fields__), topic


def test_every_fault_is_in_the_table_in_its_order() -> None:
    """A family has a row when something raises a fault of it."""
    assert rows(section("Faults"))[1:] == [
        [f"`{kind.code}`", "yes" if kind.accepts_presses else "no", kind.pattern.name, kind.sentence]
        for kind in KINDS
        if not kind.code.endswith(".NAME")
    ]


def test_the_python_program_reads_a_dictation(tmp_path: Path, microphone: Microphone) -> None:
    (program,) = blocks("python", section("The socket"))
    with Appliance(tmp_path, "audio.device=clock") as appliance:
        appliance.serve("echo")
        daemon = appliance.start()
        assert program.count("/run/flowpi/flowpi.sock") == 1
        reader = subprocess.Popen(
            [sys.executable, "-u", "-c", program.replace("/run/flowpi/flowpi.sock", str(appliance.socket))],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ,
        )
        try:
            assert reader.stdout
            assert select.select([reader.stdout], [], [], PATIENCE_S)[0], "it prints nothing"
            assert reader.stdout.readline() == "state: idle\n"
            client = appliance.connect().subscribe("transcript/final", "state")
            client.record("start")
            client.record("stop")
            final = client.wait("transcript/final")
            client.wait("state", lambda state: state["state"] == "idle")
            daemon.end()
            said, _ = reader.communicate(timeout=PATIENCE_S)
        finally:
            reader.kill()
            reader.wait()
    assert reader.returncode == 0
    assert said.splitlines() == ["state: recording", "state: finishing", f"text: {final['text']}", "state: idle"]
    assert said.splitlines()[0] in section("The socket")
