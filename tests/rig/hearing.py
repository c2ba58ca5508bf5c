"""`python -m tests.rig.hearing OPTIONS`: `flowpi serve OPTIONS`, whose engine `echo` reports when it heard what.

It is for the test microphone's device `clock`, whose samples count its frames since the zero of CLOCK_MONOTONIC: the
text has the first of them, and how many follow without a break, see `Heard`.
"""

import sys

import msgspec
import numpy as np

from flowpi.cli import main as cli
from flowpi.dsp.format import RATE_HZ
from flowpi.server.engines import ENGINES, EchoRecognition, Expected

WRAP = 1 << 16
"""The modulus of the frame numbers: 4.1 s."""


class Heard(msgspec.Struct):
    """What the engine heard of an utterance, as JSON. `breaks`: how often the next sample was not the next frame."""

    first: int
    frames: int
    breaks: int

    def covers(self, begin_s: float, end_s: float) -> bool:
        """Whether it contains all of a time, in monotonic seconds, without a break. The time must be less than 4 s.

        This is true of a time that ends before it begins.
        """
        if end_s <= begin_s:
            return self.breaks == 0
        begin, end = round(begin_s * RATE_HZ), round(end_s * RATE_HZ)
        before = (begin - self.first) % WRAP
        return self.breaks == 0 and before + end - begin <= self.frames


class Hearing:
    languages = ("en",)

    def recognition(self, expected: Expected) -> "HearingRecognition":
        return HearingRecognition()


class HearingRecognition(EchoRecognition):
    def __init__(self) -> None:
        super().__init__()
        self._pcm = bytearray()

    def feed(self, pcm: bytes) -> str | None:
        self._pcm += pcm
        return None

    def finish(self) -> str:
        frames = np.trim_zeros(np.frombuffer(self._pcm, "<u2"), "b")  # the last packet is filled with silence
        breaks = int(np.count_nonzero(np.diff(frames) != 1))
        heard = Heard(int(frames[0]) if len(frames) else 0, len(frames), breaks)
        return msgspec.json.encode(heard).decode()


if __name__ == "__main__":
    ENGINES["echo"] = lambda _: Hearing()
    sys.exit(cli.main())
