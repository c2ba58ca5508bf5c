"""SIGKILL at any moment: a client that connects again behind its last text gets each text once, in order."""

import contextlib
import json
import random
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.reliability.lives import Lives
from tests.rig.microphone import Microphone
from tests.waiting import wait_for

Text = tuple[str, int]


class Follower(threading.Thread):
    """A client that never rests. It connects again as soon as the daemon is there, behind the last text that it has."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.got: list[Text] = []
        self._path = path
        self._end = threading.Event()

    def run(self) -> None:
        while not self._end.wait(0.005):
            with contextlib.suppress(OSError, ValueError), socket.socket(socket.AF_UNIX) as daemon:
                daemon.connect(str(self._path))
                last, part = self.got[-1] if self.got else ("0" * 26, 0)
                request = {"subscribe": ["transcript/final"], "after": {"id": last, "part": part}}
                daemon.sendall(json.dumps(request).encode() + b"\n")
                with daemon.makefile("rb") as lines:
                    for line in lines:
                        message = json.loads(line)  # ValueError: the kill has cut it off
                        if message.get("topic") == "transcript/final":
                            self.got.append((message["payload"]["id"], message["payload"]["part"]))

    def end(self) -> None:
        """End when the daemon has ended."""
        self._end.set()
        self.join()


@pytest.fixture
def lives(tmp_path: Path, microphone: Microphone) -> Iterator[Lives]:
    lives = Lives(tmp_path / "0")
    lives.serve()
    yield lives
    lives.close()


def test_each_text_comes_once_in_the_order_of_the_file(lives: Lives, times: Callable[[int, int], int]) -> None:
    chance = random.Random(16)
    follower = Follower(lives.appliance.socket)
    follower.start()
    try:
        lives_left = times(4, 60)
        while lives_left > 0 or len(lives.appliance.transcripts()) <= 10:  # a busy machine says less in each
            lives_left -= 1
            daemon = lives.start()
            longest_s = max(1.0, 2 * lives.starts_s[-1])  # on a busy machine a start alone takes longer than that
            death = threading.Timer(chance.uniform(0.2, longest_s), daemon.process.kill)
            death.start()
            lives.speak_until_death(daemon)
            death.join()
            assert daemon.process.returncode == -signal.SIGKILL, daemon.log.read_text()
        daemon = lives.start()
        lives.deliver()
        written = [(text["id"], text["part"]) for text in lives.appliance.transcripts()]
        wait_for(lambda: len(follower.got) >= len(written), "it does not get all")
        assert daemon.end() == 0
    finally:
        if lives.daemon is not None:
            lives.daemon.close()
        follower.end()
    assert len(written) > 10
    assert follower.got == written
