"""The document on the interface for programs is true: its tables are those of the code, its programs run."""

import argparse
import os
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from flowpi.cli import main as cli
from flowpi.cli import parser as cli_parser
from flowpi.core import errors, faults, topics
from flowpi.core.faults import KINDS
from flowpi.host.logfields import MessageId
from flowpi.publish import messages
from tests.docs.documents import blocks, code, rows, section
from tests.rig.appliance import Appliance
from tests.rig.microphone import Microphone
from tests.waiting import PATIENCE_S

DOCUMENT = "docs/api.md"


def commands(parser: argparse.ArgumentParser, above: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, sub in action.choices.items():
                yield f"{above}{name}", sub
                yield from commands(sub, f"{above}{name} ")


def test_every_command_is_in_the_table_with_its_options() -> None:
    text = section(DOCUMENT, "Commands")
    table = {code(row[0])[0].split()[1]: " ".join(row) for row in rows(text) if row[0].startswith("`flowpi")}
    known = dict(commands(cli_parser.parser()))
    assert set(table) == {name for name in known if " " not in name}
    for name, parser in known.items():
        command, _, action = name.partition(" ")
        assert action in table[command]
        for option in parser._actions:
            choices = [] if option.option_strings else [str(choice) for choice in option.choices or ()]
            for word in option.option_strings[:1] or choices or [str(option.metavar)]:
                assert word == "-h" or f"`{word}" in text or word in table[command], f"{name}: {word}"


def error_classes(root: type[errors.FlowpiError]) -> Iterator[type[errors.FlowpiError]]:
    yield root
    for kind in root.__subclasses__():
        yield from error_classes(kind)


def test_every_exit_code_is_in_the_table() -> None:
    listed = {int(number) for row in rows(section(DOCUMENT, "Commands")) for number in re.findall(r"\d+", row[0])}
    ours = {kind.exit_code for kind in error_classes(errors.FlowpiError)}
    assert listed == ours | {0, cli.EXIT_INTERNAL, cli.EXIT_INTERRUPTED, cli.EXIT_BROKEN_PIPE}


def test_every_topic_and_its_members_are_in_the_table() -> None:
    payloads = {
        topics.STATE: messages.StatePayload,
        topics.PARTIAL: messages.Partial,
        topics.FINAL: messages.Final,
        topics.FAILED: messages.Failed,
        topics.BUTTON: messages.ButtonPayload,
        topics.STATS: messages.Stats,
    }
    table = {code(row[0])[0]: row for row in rows(section(DOCUMENT, "Topics")) if code(row[0])}
    known = {value for name, value in vars(topics).items() if name.isupper() and isinstance(value, str)}
    assert set(table) == known
    assert code(table[topics.SINKS][2]) == [
        *messages.SinkPayload.__struct_fields__[:3],
        *messages.TextId.__struct_fields__,
        *messages.SinkPayload.__struct_fields__[3:],
    ]
    assert {topic for topic, row in table.items() if row[1] == "yes"} == topics.RETAINED
    for topic, payload in payloads.items():
        assert code(table[topic][2]) == list(payload.__struct_fields__), topic


def test_every_fault_is_in_the_table_in_its_order() -> None:
    """A family has a row when something raises a fault of it, and then it has a constant."""
    raised = {f"{value}NAME" for name, value in vars(faults).items() if name.endswith("_FAMILY")}
    assert rows(section(DOCUMENT, "Faults"))[1:] == [
        [f"`{kind.code}`", "yes" if kind.accepts_presses else "no", kind.pattern.name, kind.sentence]
        for kind in KINDS
        if kind.code in raised or not kind.code.endswith(".NAME")
    ]


def test_the_python_program_reads_a_dictation(tmp_path: Path, microphone: Microphone) -> None:
    (program,) = blocks("python", section(DOCUMENT, "The socket"))
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
    assert said.splitlines()[0] in section(DOCUMENT, "The socket")


def test_every_message_id_of_the_journal_is_in_the_table() -> None:
    table = [code(row[0])[0] for row in rows(section(DOCUMENT, "Events in the journal")) if code(row[0])]
    assert sorted(table) == sorted(event.value for event in MessageId)
