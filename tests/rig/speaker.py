"""A user who dictates through the local socket, one utterance after the other, and notes what was acknowledged.

    speaker = Speaker(appliance.socket)
    try:
        while True:
            speaker.dictate(0.1)
    except Gone:
        ...  # the daemon has ended; `speaker.said` has what it owes

`judge` compares what was said with the transcripts: with the engine of `hearing.py` and the microphone
`clock`, to the sample.
"""

import json
import select
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from flowpi.dsp.format import RATE_HZ
from tests.rig.hearing import WRAP, Heard
from tests.waiting import PATIENCE_S

TAIL_S = 0.02
"""The audio that a release may cost: one period."""


class Gone(Exception):
    """The daemon does not answer, or has ended."""


class Said(msgspec.Struct):
    """A dictation. All sound from the answer to `start` until `stop` is sent, in monotonic seconds, must be heard."""

    id: str
    pressed_at: float
    released_at: float = 0.0
    acknowledged: bool = False
    """`stop` was answered: from then on the daemon owes its text, whatever happens."""


class Speaker:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.said: list[Said] = []
        self._socket: socket.socket | None = None
        self._buffer = b""

    def connect(self, alive: Callable[[], bool] = lambda: False) -> None:
        """Wait until the daemon answers. Raises Gone if it does not and has ended."""
        self.close()
        deadline = time.monotonic() + PATIENCE_S
        while True:
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(PATIENCE_S)
            try:
                connection.connect(str(self.path))
            except OSError:
                connection.close()
                if not alive() or time.monotonic() > deadline:
                    raise Gone from None
                select.select([], [], [], 0.01)
                continue
            self._socket = connection
            self._read()
            return

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket, self._buffer = None, b""

    def press(self) -> Said:
        """Start a dictation."""
        answer = self._command("start")
        assert answer["ok"], answer
        self.said.append(Said(answer["utterance"], time.monotonic()))
        return self.said[-1]

    def release(self) -> Said:
        """Stop the dictation, and wait until that is acknowledged."""
        said = self.said[-1]
        said.released_at = time.monotonic()
        answer = self._command("stop")
        assert answer["ok"], answer
        said.acknowledged = True
        return said

    def dictate(self, seconds: float) -> Said:
        """Dictate for a time. Raises Gone if the daemon ends meanwhile; what was said so far stays in `said`."""
        self.press()
        self._pause(seconds)
        return self.release()

    def _pause(self, seconds: float) -> None:
        """Go on speaking. Raises Gone at once if the daemon ends."""
        if self._socket is None:
            raise Gone
        if select.select([self._socket], [], [], seconds)[0]:
            raise Gone  # an answer although nothing was asked

    def _command(self, action: str) -> dict[str, Any]:
        if self._socket is None:
            raise Gone
        try:
            self._socket.sendall(json.dumps({"command": "record", "action": action, "request": 1}).encode() + b"\n")
        except ConnectionError:
            raise Gone from None
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._socket is not None
        while b"\n" not in self._buffer:
            try:
                data = self._socket.recv(65536)
            except ConnectionError:
                data = b""
            if not data:
                raise Gone
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        if message.get("error") and "response" not in message:
            raise Gone  # it reports that it is stopping
        return message


class Verdict(msgspec.Struct):
    """The ids of acknowledged dictations without a text, with two texts, and with a wrong text, which is included."""

    acknowledged: int = 0
    lost: list[str] = []
    twice: list[str] = []
    wrong: list[str] = []

    @property
    def good(self) -> bool:
        return not (self.lost or self.twice or self.wrong)


def judge(said: Iterable[Said], transcripts: Iterable[dict[str, Any]]) -> Verdict:
    """Compare what was said with the lines of the transcripts, whose texts are those of `hearing.py`.

    A daemon that gets no processor for a second loses sound of its microphone, and says so: only then the text may lack
    some of it.
    """
    verdict = Verdict()
    texts: dict[str, list[Heard]] = {}
    lines: Counter[tuple[str, int]] = Counter()
    stalled: set[str] = set()
    for line in transcripts:
        if line.get("lost_ms"):
            stalled.add(line["id"])
        lines[line["id"], line["part"]] += 1
        heard = msgspec.json.decode(line["text"], type=Heard) if line["text"] else Heard(0, 0, 0)
        texts.setdefault(line["id"], []).append(heard)
    verdict.twice = [name for (name, _), times in lines.items() if times > 1]
    for one in said:
        if not one.acknowledged:
            continue
        verdict.acknowledged += 1
        end = one.released_at - TAIL_S
        if one.id not in texts:
            verdict.lost.append(one.id)
        elif one.id not in stalled and not texts[one.id][0].covers(one.pressed_at, end):
            begin, frames = round(one.pressed_at * RATE_HZ) % WRAP, round((one.released_at - one.pressed_at) * RATE_HZ)
            verdict.wrong.append(f"{one.id}: {texts[one.id]} for {frames} frames from {begin} on")
    return verdict
