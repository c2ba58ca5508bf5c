"""Short tones, played by ALSA and masked in what the microphone hears.

One thread opens the device, plays and closes it: a stuck device blocks nothing but tones. The thread waits for the loop
before it plays, and the loop then begins to mask the microphone: so the mask begins with the tone, however long the
device took to open. A tone that would come too late is not played, and a device that fails is reported once.
"""

import asyncio
import contextlib
import errno
import logging
import queue
import threading
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from flowpi.audio import cards
from flowpi.audio.alsalib import Playback
from flowpi.audio.cue_mask import CueMask, PlayedTone
from flowpi.audio.cues import Cue
from flowpi.core.errors import MicrophoneError
from flowpi.dsp.format import BYTES_PER_S, FRAME_BYTES, RATE_HZ
from flowpi.dsp.wav import HEADER_BYTES

log = logging.getLogger(__name__)

DATA = Path(__file__).parents[1] / "data"

TAIL_S = 0.1
"""How long a tone may be heard after its end: from the room, or from a buffer of the microphone."""

PIECE_BYTES = RATE_HZ // 100 * FRAME_BYTES
"""How much is written at once: only the device can stop what has been written."""

OVERDUE_S = 0.5
"""A device that takes this much longer than the tone lasts is stuck, and makes no sound."""

LATE_S = {Cue.START: 0.25, Cue.STOP: 0.5, Cue.KEPT: 1.0, Cue.ERROR: 1.0}
"""The delay after which a tone is not played any more: it would mean nothing, or mask the first word."""


class Player(Protocol):
    """An open playback device. It is used on one thread, which it may block. All methods raise OSError."""

    def write(self, pcm: bytes) -> None: ...
    def drain(self) -> None: ...
    def drop(self) -> None: ...
    def close(self) -> None: ...


class _Playing:
    """One tone, from the request to its end. The loop sets `go` and `stopped`, and the thread reads them."""

    def __init__(self, cue: Cue, asked_at: float) -> None:
        self.cue = cue
        self.asked_at = asked_at
        self.go = threading.Event()
        self.stopped = threading.Event()
        self.sound: PlayedTone | None = None
        self.overdue: asyncio.TimerHandle | None = None


def _open(device: str) -> Player:
    try:
        return Playback(cards.resolved(device))
    except MicrophoneError as error:
        raise OSError(errno.ENODEV, error.reason) from error


class AlsaCues:
    """Plays tones. The device is open only while one plays, because other programs may need it."""

    def __init__(
        self, device: str, volume: float, mask: CueMask, open_player: Callable[[str], Player] | None = None
    ) -> None:
        """`device`: an ALSA PCM. `volume`: from 0 to 1. `open_player`: replaces ALSA in tests."""
        self._device = device
        self._cue_mask = mask
        self._open_player = open_player or _open
        self._tones = {cue: tone(cue, volume) for cue in Cue}
        self._loop = asyncio.get_running_loop()
        self._playing: _Playing | None = None
        self._wanted: queue.SimpleQueue[_Playing | None] = queue.SimpleQueue()
        self._reported = False
        threading.Thread(target=self._work, name="cues", daemon=True).start()

    def play(self, cue: Cue) -> None:
        self.stop()
        self._playing = _Playing(cue, self._loop.time())
        self._wanted.put(self._playing)

    def stop(self) -> None:
        playing, self._playing = self._playing, None
        if playing is not None:
            playing.stopped.set()
            playing.go.set()

    def close(self) -> None:
        self.stop()
        self._wanted.put(None)

    # On the loop, called by the thread.

    def _opened(self, playing: _Playing) -> None:
        if self._loop.time() - playing.asked_at > LATE_S[playing.cue]:
            playing.stopped.set()
        if not playing.stopped.is_set():
            playing.sound = self._cue_mask.begin(self._loop.time())
            overdue_s = len(self._tones[playing.cue]) / BYTES_PER_S + OVERDUE_S
            playing.overdue = self._loop.call_later(overdue_s, self._ended, playing, None)
        playing.go.set()

    def _ended(self, playing: _Playing, error: OSError | None) -> None:
        playing.stopped.set()
        if playing.overdue is not None:
            playing.overdue.cancel()
        if playing.sound is not None:
            playing.sound.until = min(playing.sound.until, self._loop.time() + TAIL_S)
        if error is None:
            self._reported = False
        elif not self._reported:
            self._reported = True
            log.warning("no tones from %r (%s): see `aplay -L` and set cues.device", self._device, error.strerror)

    # On the thread.

    def _work(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the program ends
            while (playing := self._wanted.get()) is not None:
                if playing.stopped.is_set():
                    continue
                error: OSError | None = None
                try:
                    self._sound(playing)
                except OSError as failure:
                    error = failure
                self._loop.call_soon_threadsafe(self._ended, playing, error)

    def _sound(self, playing: _Playing) -> None:
        player = self._open_player(self._device)
        try:
            self._loop.call_soon_threadsafe(self._opened, playing)
            playing.go.wait()
            pcm = self._tones[playing.cue]
            for at in range(0, len(pcm), PIECE_BYTES):
                if playing.stopped.is_set():
                    player.drop()
                    return
                player.write(pcm[at : at + PIECE_BYTES])
            player.drain()
        finally:
            player.close()


def tone(cue: Cue, volume: float = 1.0) -> bytes:
    """Return the tone of `cue` as int16 mono 16 kHz PCM."""
    wav = (DATA / f"cue-{cue.value}.wav").read_bytes()
    samples = array("h", wav[HEADER_BYTES:])
    return array("h", (round(sample * volume) for sample in samples)).tobytes()
