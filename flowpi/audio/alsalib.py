"""What alsa-lib can do and pyalsaaudio does not offer, by ctypes.

pyalsaaudio holds the interpreter while it opens and while it closes: a sound server that is stopped, or a driver that
is stuck, would hold up every thread of the process for as long. ctypes lets the interpreter go, so here a thread can
find out whether a device can be opened at all.
"""

import ctypes
import errno
import functools
import glob
import re

from flowpi.dsp.format import FRAME_BYTES, RATE_HZ

CAPTURE_DEVICES = "/dev/snd/pcmC*D*c"

PLAYBACK, CAPTURE = 0, 1
NONBLOCK = 1
S16_LE, INTERLEAVED = 2, 3
LATENCY_US = 60_000
"""The device's buffer: what a stop throws away, and what a busy Pi may look away for."""


@functools.cache
def library() -> ctypes.CDLL:
    """alsa-lib, which from now on writes nothing to stderr: five lines for each failed open would bury the journal."""
    alsa = ctypes.CDLL("libasound.so.2")
    alsa.snd_strerror.restype = ctypes.c_char_p
    # A function in C that does nothing. One in Python would be code made in memory, which the service may not do.
    alsa.snd_lib_error_set_handler(ctypes.cast(alsa.snd_asoundlib_version, ctypes.c_void_p))
    alsa.snd_pcm_writei.restype = ctypes.c_long
    alsa.snd_pcm_writei.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_ulong)
    return alsa


def only_microphone() -> str | None:
    """The name of the one sound card that records; None: there is none, or more than one.

    ALSA's `default` is the first card, which on a Pi plays only.
    """
    cards = {re.sub(r".*C(\d+)D\d+c", r"\1", path) for path in glob.glob(CAPTURE_DEVICES)}
    return f"plughw:{cards.pop()}" if len(cards) == 1 else None


def try_to_open(device: str, *, fresh: bool) -> str:
    """Open a PCM and close it again. May block for ever, and then holds nobody up but its own thread.

    Args:
        fresh: read the configuration again, as it stands on the disk now. alsa-lib does so once in a program's life,
            and may know nothing of a card that came later.

    Returns:
        Why it cannot be opened, in alsa-lib's words; empty if it can.
    """
    alsa, pcm = library(), ctypes.c_void_p()
    if fresh:
        alsa.snd_config_update_free_global()
    code: int = alsa.snd_pcm_open(ctypes.byref(pcm), device.encode(), CAPTURE, NONBLOCK)
    if code < 0:
        reason: bytes = alsa.snd_strerror(code)
        return reason.decode(errors="replace")
    alsa.snd_pcm_close(pcm)
    return ""


class Playback:
    """An open PCM that plays int16 mono 16 kHz, converted if it must be. Holds up its own thread, and no other.

    Raises OSError with alsa-lib's words, in each of its methods too.
    """

    def __init__(self, device: str) -> None:
        self._alsa = library()
        self._pcm = ctypes.c_void_p()
        # NONBLOCK, or a device that another program has would be waited for.
        self._check(self._alsa.snd_pcm_open(ctypes.byref(self._pcm), device.encode(), PLAYBACK, NONBLOCK))
        try:
            self._check(self._alsa.snd_pcm_nonblock(self._pcm, 0))
            self._check(
                self._alsa.snd_pcm_set_params(self._pcm, S16_LE, INTERLEAVED, 1, RATE_HZ, 1, ctypes.c_uint(LATENCY_US))
            )
        except OSError:
            self.close()
            raise

    def write(self, pcm: bytes) -> None:
        """Waits until the device has room for it."""
        while pcm:
            written: int = self._alsa.snd_pcm_writei(self._pcm, pcm, len(pcm) // FRAME_BYTES)
            if written < 0:  # it ran dry, or was suspended: go on where that can be mended
                self._check(self._alsa.snd_pcm_recover(self._pcm, ctypes.c_int(written), 1))
                written = 0
            pcm = pcm[written * FRAME_BYTES :]

    def drain(self) -> None:
        """Waits until all is played."""
        code = self._alsa.snd_pcm_drain(self._pcm)
        if code != -errno.EPIPE:  # all was played before it came to that
            self._check(code)

    def drop(self) -> None:
        """Plays nothing more."""
        self._check(self._alsa.snd_pcm_drop(self._pcm))

    def close(self) -> None:
        self._alsa.snd_pcm_close(self._pcm)

    def _check(self, code: int) -> None:
        if code < 0:
            reason: bytes = self._alsa.snd_strerror(code)
            raise OSError(-code, reason.decode(errors="replace"))
