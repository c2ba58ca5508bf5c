"""Functions of alsa-lib that pyalsaaudio does not offer, called by ctypes.

pyalsaaudio holds the interpreter lock while it opens and while it closes: a sound server that is stopped, or a driver
that is stuck, would block every thread of the process. ctypes releases the lock, so a thread can find out here whether
a device can be opened at all.
"""

import ctypes
import errno
import functools

from flowpi.dsp.format import FRAME_BYTES, RATE_HZ

PLAYBACK, CAPTURE = 0, 1
NONBLOCK = 1
S16_LE, INTERLEAVED = 2, 3
LATENCY_US = 60_000
"""The length of the playback buffer: what a stop throws away, and how long a busy Pi may fail to write."""


@functools.cache
def library() -> ctypes.CDLL:
    """Load alsa-lib, and stop it from writing to stderr: five lines for each failed open would bury the journal."""
    alsa = ctypes.CDLL("libasound.so.2")
    alsa.snd_strerror.restype = ctypes.c_char_p
    # The handler is a C function that does nothing. One in Python would be code made in memory, which the service may
    # not execute.
    alsa.snd_lib_error_set_handler(ctypes.cast(alsa.snd_asoundlib_version, ctypes.c_void_p))
    alsa.snd_pcm_writei.restype = ctypes.c_long
    alsa.snd_pcm_writei.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_ulong)
    return alsa


def try_to_open(device: str, *, fresh: bool) -> str:
    """Open a PCM and close it again. This may block for ever, but it blocks only its own thread.

    Args:
        fresh: read the configuration again from the disk. alsa-lib reads it once a process, and does not see a card
            that came later.

    Returns:
        The reason why the PCM cannot be opened, in alsa-lib's words, or an empty string if it can.
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
    """An open PCM that plays int16 mono 16 kHz, converted if necessary. It blocks its own thread, and no other.

    The constructor and each method raise OSError with alsa-lib's words.
    """

    def __init__(self, device: str) -> None:
        self._alsa = library()
        self._pcm = ctypes.c_void_p()
        # Without NONBLOCK, this would wait for a device that another program uses.
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
        """Play `pcm`, waiting until the device has room for it."""
        while pcm:
            written: int = self._alsa.snd_pcm_writei(self._pcm, pcm, len(pcm) // FRAME_BYTES)
            if written < 0:  # it ran dry, or was suspended: continue if alsa-lib can recover
                self._check(self._alsa.snd_pcm_recover(self._pcm, ctypes.c_int(written), 1))
                written = 0
            pcm = pcm[written * FRAME_BYTES :]

    def drain(self) -> None:
        """Wait until everything has been played."""
        code = self._alsa.snd_pcm_drain(self._pcm)
        if code != -errno.EPIPE:  # everything had been played already
            self._check(code)

    def drop(self) -> None:
        """Stop at once, and discard what has not been played."""
        self._check(self._alsa.snd_pcm_drop(self._pcm))

    def close(self) -> None:
        self._alsa.snd_pcm_close(self._pcm)

    def _check(self, code: int) -> None:
        if code < 0:
            reason: bytes = self._alsa.snd_strerror(code)
            raise OSError(-code, reason.decode(errors="replace"))
