"""A place where flowpi is used: an appliance at the near end of a network of its own, and its server at the far end.

The server reports all that it hears (engine `echo`), the appliance keeps what it recorded, and the sound of its
microphone encodes when it was made (device `clock`). So it can be checked long after a dictation whether the server
heard each sample from before the press until after the release. Use it in a process of its own: `netem.alone`.
"""

import contextlib
import itertools
import json
import re
import socket
import threading
import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from msgspec import Struct

from flowpi.dsp.format import RATE_HZ
from tests.audio.listening import missing, samples, wait_until
from tests.rig.appliance import Appliance, Process, Socket
from tests.rig.microphone import Microphone
from tests.rig.netem import Network
from tests.sound import echo

PORT = 8477
KEY = "canary-of-the-house"
PATIENCE_S = 150.0
"""The time limit of every wait: the backlog waits a minute between attempts, and an attempt may last half of one."""


class Dictation(Struct, frozen=True):
    """A dictation. `pressed_at`, `released_at`: the monotonic seconds between which it was recorded for certain."""

    id: str
    pressed_at: float
    released_at: float


class Place:
    """One place, whose daemon and server are running. `number`: the number of this place among several."""

    def __init__(self, directory: Path, number: int = 0, *settings: str) -> None:
        directory.mkdir()
        self.network = Network(number)
        self._microphone = Microphone(directory)
        config = directory / "flowpi.yaml"
        config.write_text(f"server: {{api_keys: [{KEY}]}}\n")  # a server for other machines requires one
        self.appliance = Appliance(
            directory,
            "audio.device=clock",
            "spool.keep_audio=true",
            *settings,
            backend=f"api_key: {KEY}",
            environment={"ALSA_CONFIG_PATH": str(self._microphone.config_path), "FLOWPI_CONFIG": str(config)},
        )
        self.appliance.url = f"ws://{self.network.far_address}:{PORT}/api/v1/dash/ws"
        with self.network.far():
            self.server: Process = self.appliance.serve("echo", f"{self.network.far_address}:{PORT}")
        self.appliance.start()
        self.client: Socket = self.appliance.connect()
        self.dictations: list[Dictation] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.appliance.__exit__(kind, error, at)
        self._microphone.close()
        self.network.close()

    @contextlib.contextmanager
    def speaking(self, at_least_s: float = 0.0) -> Iterator[None]:
        """Dictate for the length of a block, or for `at_least_s` if that is longer."""
        answer = self.client.record("start")
        assert answer["ok"], answer
        pressed_at = time.monotonic()
        yield
        wait_until(pressed_at + at_least_s)
        released_at = time.monotonic()
        assert self.client.record("stop")["ok"]
        self.dictations.append(Dictation(answer["utterance"], pressed_at, released_at))

    def dictate(self, seconds: float) -> Dictation:
        with self.speaking(seconds):
            pass
        return self.dictations[-1]

    def listen(self) -> dict[str, float]:
        """Return a dictionary that fills itself from now on: the arrival of each text, in monotonic seconds."""
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(self.appliance.socket))
        client.sendall(b'{"subscribe": ["transcript/final"]}\n')
        texts: dict[str, float] = {}

        def read() -> None:
            with client, client.makefile() as lines:
                for line in lines:  # until the daemon ends
                    if "topic" in (message := json.loads(line)):
                        texts.setdefault(message["payload"]["id"], time.monotonic())

        threading.Thread(target=read, name="texts", daemon=True).start()
        return texts

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.client.command(command="status")["status"]
        return status

    def connections(self) -> set[str]:
        """Return the ports of the connections to the server that the kernel of this end considers open."""
        far = "".join(f"{int(byte):02X}" for byte in reversed(self.network.far_address.split(".")))
        established = "01"
        rows = [line.split() for line in Path("/proc/thread-self/net/tcp").read_text().splitlines()]
        return {row[1] for row in rows if row[2] == f"{far}:{PORT:04X}" and row[3] == established}

    def wait(self, condition: Callable[[], object]) -> float:
        """Wait until a condition is true; return when, in monotonic seconds."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"not within {PATIENCE_S} s: {self.status()}"
            wait_until(time.monotonic() + 0.02)
        return time.monotonic()

    def is_done(self) -> bool:
        """Whether all texts are published, and nothing is kept any more."""
        return len(self.appliance.transcripts()) >= len(self.dictations) and not self.appliance.spooled()

    def account(self) -> dict[str, Any]:
        """Compare all dictations with their texts after everything is delivered; each list should be empty."""
        finals = self.appliance.transcripts()
        ids = [final["id"] for final in finals]
        texts = {final["id"]: final["text"] for final in finals}
        late = [final["id"] for final in finals if final["late"]]
        stalled = {final["id"] for final in finals if final.get("lost_ms")}  # by its own word, for want of a processor
        passed_over = self._passed_over()
        out_of_order = {
            after for before, after in itertools.pairwise(late) if after < before and after not in passed_over
        }
        account: dict[str, Any] = {
            "dictations": len(self.dictations),
            "lost": [one.id for one in self.dictations if one.id not in texts],
            "twice": sorted({one for one in ids if ids.count(one) > 1}),
            "unknown": sorted(set(ids) - {one.id for one in self.dictations}),
            "wrong": [
                one.id
                for one in self.dictations
                if one.id in texts and one.id not in stalled and not self._is_whole(one, texts[one.id])
            ],
            "out_of_order": [line for line in self._log() if any(one in line for one in out_of_order)],
            "late": len(late),
            "passed_over": len(passed_over),
        }
        return account

    def _passed_over(self) -> set[str]:
        """Return the dictations of which the server had all audio and sent no text in time, by the daemon's log.

        The cause may lie in the utterance, so others are sent before it.
        """
        found = (re.search(r"(\w{26})\b.* did not send the text within", line) for line in self._log())
        return {match[1] for match in found if match}

    def _log(self) -> list[str]:
        assert self.appliance.daemon
        return self.appliance.daemon.log.read_text().splitlines()

    def _is_whole(self, dictation: Dictation, text: str) -> bool:
        """Whether the server heard each sample that was recorded, and all of the speech was recorded."""
        with wave.open(str(self.appliance.spool / "kept" / f"{dictation.id}.wav")) as file:
            pcm = file.readframes(file.getnframes())
        sound = samples(pcm)
        turn = round((dictation.pressed_at * RATE_HZ - sound[0]) / 65_536)
        first_at = (turn * 65_536 + sound[0]) / RATE_HZ
        is_all = first_at < dictation.pressed_at and first_at + len(sound) / RATE_HZ > dictation.released_at
        return is_all and missing(pcm) == [] and text == echo(pcm)
