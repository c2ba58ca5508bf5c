"""A process that is killed while it publishes, again and again: no text is lost, and none comes out of order."""

import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.publish.mqtt.broker import Broker, Reader
from tests.waiting import wait_for


@contextmanager
def sender(directory: Path, url: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a sender, and kill it at the end."""
    command = [sys.executable, "-m", "tests.publish.mqtt.sender", str(directory), url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def say(process: "subprocess.Popen[str]", numbers: range) -> None:
    """Have numbers said, and return when the last is in the transcripts, and perhaps not published."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("".join(f"{number}\n" for number in numbers))
    process.stdin.flush()
    while process.stdout.readline() != f"{numbers[-1]}\n":
        assert process.poll() is None


@pytest.mark.parametrize("rounds", [4, pytest.param(100, marks=pytest.mark.long)])
def test_killed_at_random(broker: Broker, tmp_path: Path, rounds: int) -> None:
    chance = random.Random(rounds)
    said = 0
    with Reader(broker.port, "flowpi/desk/transcript/final") as reader:

        def numbers() -> list[int]:
            return [int(one.json["id"][-6:]) for one in reader.heard]

        for _ in range(rounds):
            with sender(tmp_path / "sender", broker.url) as process:
                number = chance.randint(1, 10)
                say(process, range(said + 1, said + 1 + number))
                said += number
                if chance.random() < 0.5:  # all published but for a few
                    least = said - chance.randint(0, 3)
                    wait_for(lambda least=least: least <= 0 or least in numbers())  # type: ignore[misc]
        with sender(tmp_path / "sender", broker.url):
            wait_for(lambda: said in numbers())
        first_arrivals = list(dict.fromkeys(numbers()))
        assert first_arrivals == list(range(1, said + 1))
        assert len(numbers()) - said <= rounds  # at most one comes twice for each kill
