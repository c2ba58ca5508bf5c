"""A microphone with levers, in the real ALSA library: see `microphone.c` for what it imitates.

`Microphone(directory)` compiles the plugin once, makes an asound.conf in `directory`, and pulls the levers. Programs
open its devices with `ALSA_CONFIG_PATH` set to `config_path`; this process does so after `monkeypatch.setenv`
(alsa-lib reads the variable at every open, and then the file that it names).
"""

import audioop
import fcntl
import os
import select
import struct
import termios
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from flowpi.audio.sound import read_sound
from flowpi.dsp.pcm import Resampler
from tests.rig import compiled, i2s

SOURCE = Path(__file__).with_name("microphone.c")
PIPE_BYTES = 1 << 20  # the most that an unprivileged process may set: 32 s at 16 kHz mono, 5 s at 48 kHz stereo

CONFIG = """\
</usr/share/alsa/alsa.conf>
pcm_type.microphone {{ lib "{plugin}" }}
pcm.live {{ type microphone {levers} fifo "{directory}/live.fifo" }}
pcm.clock {{ type microphone {levers} clock 1 }}
pcm.steady {{ type microphone clock 1 }}
pcm.usb48 {{ type microphone {levers} rate 48000 channels 2 fifo "{directory}/usb48.fifo" }}
pcm.usb48clock {{ type microphone {levers} rate 48000 channels 2 clock 1 }}
pcm.usb48plug {{ type plug slave.pcm "usb48" }}
pcm.i2s {{ type microphone {levers} rate 48000 channels 2 bits 32 fifo "{directory}/i2s.fifo" }}
pcm.inmp441 {{
  type microphone {levers} rate 48000 channels 2 bits 24
  offset {offset} fifo "{directory}/inmp441.fifo"
}}
pcm.array {{ type microphone {levers} channels 4 clock 1 }}
"""


def build(cache: Path = compiled.CACHE) -> Path:
    """Return the compiled plugin. Raises RuntimeError, which names the packages to install."""
    return compiled.build(SOURCE, "-DPIC", "-lasound", packages="libasound2-dev", cache=cache)


class Microphone:
    """One microphone and its levers, which affect all its devices but one.

    Devices (ALSA PCM names):
        live: 16 kHz mono; it plays what `speak()` passes to it, with a little noise around it.
        clock: 16 kHz mono; each sample encodes when it was recorded (`clock` in microphone.c).
        steady: like clock, but no lever affects it: a look at a lever is a system call, which no sound card makes.
        usb48, usb48plug: 48 kHz stereo only; it plays what `speak(..., device="usb48")` passes to it. The second has
            ALSA's own conversion on top, like `plughw:`.
        i2s: 48 kHz stereo with 32 bits only, like the small microphone boards for a Pi; it plays what is spoken.
        inmp441: the same with 24 of the 32 bits, an offset, and one silent channel; it plays what is spoken, a WAV
            as softly as such a microphone would: see `i2s.py`.
        usb48clock, array: clocks with 48 kHz stereo, and with 16 kHz and 4 channels.
    """

    def __init__(self, directory: Path, cache: Path = compiled.CACHE) -> None:
        self.config_path = directory / "asound.conf"
        self._directory = directory
        self._plugin = build(cache)
        self._card = 0
        self._insert()
        self._lines = {name: _Line(directory / f"{name}.fifo") for name in ("live", "usb48", "i2s", "inmp441")}

    def _insert(self) -> None:
        """Make the names refer to the current card."""
        self._levers = self._directory / f"card{self._card}"
        self._levers.mkdir()
        text = CONFIG.format(
            plugin=self._plugin, levers=f'levers "{self._levers}"', directory=self._directory, offset=i2s.OFFSET
        )
        self.config_path.write_text(text)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        for line in self._lines.values():
            line.close()

    def speak(self, speech: bytes | Path, device: str = "live") -> None:
        """Say `speech` from now on, in real time, after what was said before it. Returns at once.

        It waits for a device that is not open yet, and is lost during an overrun.

        Args:
            speech: PCM in the device's own format; or the path of a WAV, converted to it.
        """
        if isinstance(speech, Path):
            speech, _ = read_sound(speech)
            if device == "usb48":
                up = Resampler(16_000, 48_000)
                speech = audioop.tostereo(up.feed(speech) + up.flush(), 2, 1, 1)
            if device == "inmp441":
                speech = i2s.soft(speech)
        self._lines[device].write(speech)

    def unheard(self, device: str = "live") -> int:
        """Return the number of bytes of speech that the device has not played yet."""
        return self._lines[device].unread()

    def drain(self) -> None:
        """Discard the speech that was not played yet."""
        for line in self._lines.values():
            line.drain()

    def unplug(self) -> None:
        """Make the device answer "No such device", when it is open and when it is opened."""
        self._pull("unplugged")

    def plug_in(self) -> None:
        self._release("unplugged")

    def plug_in_as_another_card(self) -> None:
        """Make the names refer to a new device; the old one stays unplugged."""
        self.unplug()
        self._card += 1
        self._insert()

    def take(self) -> None:
        """Make opening answer "Device or resource busy", as if another program had the device."""
        self._pull("busy")

    def give_back(self) -> None:
        self._release("busy")

    def freeze(self) -> None:
        """Stop delivering without an error, as a wedged USB bus does."""
        self._pull("frozen")

    def thaw(self) -> None:
        self._release("frozen")

    def hang(self) -> None:
        """Freeze, and block callers that open or close the device, as a wedged driver does."""
        self._pull("hung")
        self.freeze()

    def unhang(self) -> None:
        self._release("hung")
        self.thaw()

    def slow_down(self) -> None:
        """Make the device's clock wrong by a tenth from the next opening on."""
        self._pull("slow")

    def storm(self) -> None:
        """Report an overrun at every second read, and lose what was not read."""
        self._pull("storm")

    def calm(self) -> None:
        self._release("storm")

    def mute(self, sample: int = 0) -> None:
        """Deliver only this sample, whatever is spoken, like a mute switch or a broken wire."""
        half = self._levers / "half"
        half.write_text(str(sample))
        half.replace(self._levers / "mute")

    def unmute(self) -> None:
        self._release("mute")

    def _pull(self, lever: str) -> None:
        (self._levers / lever).touch()

    def _release(self, lever: str) -> None:
        (self._levers / lever).unlink(missing_ok=True)


class _Line:
    """A FIFO for any amount of data, whose writer never waits: a thread writes what does not fit."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)  # held open, or its bytes would vanish
        fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._stop = os.eventfd(0)
        self._rest = bytearray()
        self._lock = threading.Lock()
        self._writer: threading.Thread | None = None

    def write(self, data: bytes) -> None:
        with self._lock:
            self._rest += data
            self._write_some()
            if self._rest and self._writer is None:
                self._writer = threading.Thread(target=self._write_rest, name="speech", daemon=True)
                self._writer.start()

    def unread(self) -> int:
        with self._lock:
            in_pipe: int = struct.unpack("i", fcntl.ioctl(self._fd, termios.FIONREAD, bytes(4)))[0]
            return in_pipe + len(self._rest)

    def drain(self) -> None:
        with self._lock:
            self._rest.clear()
            try:
                while os.read(self._fd, PIPE_BYTES):
                    pass
            except BlockingIOError:
                pass

    def close(self) -> None:
        os.eventfd_write(self._stop, 1)
        if (writer := self._writer) is not None:
            writer.join()
        os.close(self._fd)
        os.close(self._stop)

    def _write_some(self) -> None:
        try:
            while self._rest:
                del self._rest[: os.write(self._fd, self._rest)]
        except BlockingIOError:
            pass

    def _write_rest(self) -> None:
        while True:
            stop, _, _ = select.select([self._stop], [self._fd], [])
            if stop:
                return
            with self._lock:
                self._write_some()
                if not self._rest:
                    self._writer = None
                    return
