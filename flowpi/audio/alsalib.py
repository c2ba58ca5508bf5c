"""What alsa-lib can do and pyalsaaudio does not offer, by ctypes.

pyalsaaudio holds the interpreter while it opens and while it closes: a sound server that is stopped, or a driver that
is stuck, would hold up every thread of the process for as long. ctypes lets the interpreter go, so here a thread can
find out whether a device can be opened at all.
"""

import ctypes
import functools

CAPTURE = 1
NONBLOCK = 1

_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p)
_quiet = _HANDLER(lambda *_: None)  # alsa-lib keeps the pointer: this reference must live as long as the process


@functools.cache
def library() -> ctypes.CDLL:
    """alsa-lib, which from now on writes nothing to stderr: five lines for each failed open would bury the journal."""
    alsa = ctypes.CDLL("libasound.so.2")
    alsa.snd_strerror.restype = ctypes.c_char_p
    alsa.snd_lib_error_set_handler(_quiet)
    return alsa


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
