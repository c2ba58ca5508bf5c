"""Silero 6.2 on onnxruntime: rates how likely it is that a stream of sound is speech, window by window.

Theory of operation. The network hears a window of 32 ms together with the 4 ms before it, and passes two vectors of
state on to the next window. Its "sequence" form takes any number of windows in one run, with the same ratings as one
window a run, at less than half of the cost: a second of sound needs 2 to 3 ms of CPU on the machine of the
measurements.

All streams share one network. What a stream has of its own is its state and its last 4 ms: 1.3 KB.
"""

from pathlib import Path
from typing import Any

import numpy as np

from flowpi.core.errors import EngineUnavailable
from flowpi.dsp.format import FRAME_BYTES
from flowpi.server.onnx import open_network

MODEL = Path(__file__).parents[1] / "data" / "silero_vad_16k_sequence.onnx"
"""Where it comes from, its licence and its checksum are in the text beside it."""

WINDOW = 512
"""The number of samples that are rated together."""
BEFORE = 64
"""The number of samples before a window that the network hears with it."""
STATE = (1, 1, 128)
"""The shape of each of the two vectors of state."""


class VoiceModel:
    """The network, safe to use from several threads at once.

    Raises:
        EngineUnavailable: the file is missing or cannot be read.
    """

    def __init__(self, path: Path = MODEL) -> None:
        try:
            self._network = open_network(path)
        except Exception as error:  # onnxruntime's exceptions have no common base class
            raise EngineUnavailable(
                f"the voice model {path} cannot be read ({error})", "install flowpi again"
            ) from error

    def stream(self) -> "VoiceStream":
        """Begin to rate a stream."""
        return VoiceStream(self._network)


class VoiceStream:
    """Rates one stream. Used by one thread at a time."""

    def __init__(self, network: Any) -> None:
        self._network = network
        self._state = np.zeros(STATE, np.float32), np.zeros(STATE, np.float32)
        self._before = np.zeros(BEFORE, np.float32)

    def __call__(self, pcm: bytes) -> list[float]:
        """Rate what follows in the stream.

        Args:
            pcm: int16 mono 16 kHz, one or more whole windows.

        Returns:
            The probability of speech of each window.
        """
        assert pcm
        assert len(pcm) % (WINDOW * FRAME_BYTES) == 0
        sound = np.concatenate([self._before, np.frombuffer(pcm, np.int16).astype(np.float32) / 32768])
        self._before = sound[-BEFORE:].copy()  # a view would keep all of the sound
        windows = np.lib.stride_tricks.sliding_window_view(sound, BEFORE + WINDOW)[::WINDOW]
        h, c = self._state
        ratings, *self._state = self._network.run(None, {"input": np.ascontiguousarray(windows), "h": h, "c": c})
        return list(map(float, ratings))
