"""Tones: the content of the files, how they are played, and that no dictation contains them."""

import asyncio
import errno
import logging
import math
import os
import threading
from array import array
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from flowpi.audio.alsa import AlsaSource
from flowpi.audio.alsalib import Playback
from flowpi.audio.capture import Capture, Timing
from flowpi.audio.cue_mask import CueMask
from flowpi.audio.cues import Cue
from flowpi.audio.tones import DATA, TAIL_S, AlsaCues, tone
from flowpi.dsp.format import BYTES_PER_S, RATE_HZ
from tests import cue_sounds
from tests.rig.microphone import Microphone
from tests.sound import beginning
from tests.waiting import PATIENCE_S, ticks, until

SLACK_S = 0.25
"""How much more than necessary may be masked on a busy machine."""

# The files


@pytest.mark.parametrize("cue", Cue)
def test_a_file_is_what_its_script_makes_and_short(cue: Cue) -> None:
    assert (DATA / f"cue-{cue.value}.wav").read_bytes() == cue_sounds.wav(cue.value)
    assert len(tone(cue)) / BYTES_PER_S < 0.2
    assert len(tone(Cue.START)) / BYTES_PER_S <= 0.08  # the first word must not be lost


@pytest.mark.parametrize("cue", Cue)
def test_it_fades_in_and_out_and_has_a_volume(cue: Cue) -> None:
    loud, soft = array("h", tone(cue)), array("h", tone(cue, 0.25))
    assert loud[0] == loud[-1] == 0
    assert max(map(abs, loud[:16])) < 0.2 * max(loud)
    assert max(soft) == pytest.approx(max(loud) / 4, abs=1)


# The player


class Loudspeaker:
    """A playback device with levers.

    `missing`: why it cannot be opened. `slow`, `stuck`: events that opening and writing wait for.
    """

    def __init__(self) -> None:
        self.missing = 0
        self.slow = threading.Event()
        self.slow.set()
        self.stuck = threading.Event()
        self.stuck.set()
        self.heard = b""
        self.said: list[str] = []
        self.asked = 0

    def open(self, device: str) -> "Loudspeaker":
        self.asked += 1
        self.slow.wait(PATIENCE_S)
        if self.missing:
            raise OSError(self.missing, os.strerror(self.missing))
        self.said.append("open")
        return self

    def write(self, pcm: bytes) -> None:
        self.heard += pcm
        self.stuck.wait(PATIENCE_S)

    def drain(self) -> None:
        self.said.append("drain")

    def drop(self) -> None:
        self.said.append("drop")

    def close(self) -> None:
        self.said.append("close")


class Hall:
    def __init__(self) -> None:
        self.speaker = Loudspeaker()
        self.mask = CueMask()
        self.cues = AlsaCues("hall", 1.0, self.mask, self.speaker.open)

    async def asked(self, times: int) -> None:
        await until(lambda: self.speaker.asked == times)

    def masked(self) -> list[tuple[float, float]]:
        return [(sound.since, sound.until) for sound in self.mask._sounds]


@asynccontextmanager
async def hall() -> AsyncIterator[Hall]:
    opened = Hall()
    yield opened
    opened.speaker.slow.set()
    opened.speaker.stuck.set()
    opened.cues.close()


async def test_a_tone_is_played_to_its_end_and_the_device_let_go_of() -> None:
    async with hall() as room:
        for cue in Cue:
            room.speaker.heard, room.speaker.said = b"", []
            room.cues.play(cue)
            await until(lambda: "close" in room.speaker.said)
            assert room.speaker.heard == tone(cue)
            assert room.speaker.said == ["open", "drain", "close"]


async def test_what_is_masked_begins_before_the_first_sample_and_ends_after_the_last() -> None:
    loop = asyncio.get_running_loop()
    async with hall() as room:
        room.speaker.slow.clear()
        room.speaker.stuck.clear()
        room.cues.play(Cue.ERROR)
        await ticks()
        assert room.masked() == []  # a slow device costs no word
        room.speaker.slow.set()
        await until(lambda: room.speaker.heard)
        ((since, end),) = room.masked()
        assert since <= loop.time()
        assert end == math.inf
        before = loop.time()
        room.speaker.stuck.set()
        await until(lambda: room.masked()[0][1] < math.inf)
        assert room.masked()[0][1] >= before + TAIL_S


async def test_a_press_stops_it() -> None:
    async with hall() as room:
        room.speaker.stuck.clear()
        room.cues.play(Cue.KEPT)
        await until(lambda: room.speaker.heard)
        room.cues.stop()
        room.speaker.stuck.set()
        await until(lambda: "close" in room.speaker.said)
        assert room.speaker.said == ["open", "drop", "close"]
        assert len(room.speaker.heard) < len(tone(Cue.KEPT))


async def test_stopped_before_it_sounds_it_never_does() -> None:
    async with hall() as room:
        room.speaker.slow.clear()
        room.cues.play(Cue.KEPT)
        await until(lambda: room.speaker.asked)
        room.cues.play(Cue.START)  # the tone before is not wanted any more
        room.cues.stop()
        room.speaker.slow.set()
        await until(lambda: "close" in room.speaker.said)
        await ticks()
        assert (room.speaker.heard, room.masked()) == (b"", [])


async def test_a_tone_that_would_come_too_late_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    from flowpi.audio import tones

    monkeypatch.setitem(tones.LATE_S, Cue.START, -1.0)  # any opening takes longer
    async with hall() as room:
        room.cues.play(Cue.START)
        await until(lambda: "close" in room.speaker.said)
        assert (room.speaker.heard, room.masked()) == (b"", [])


async def test_a_stuck_device_does_not_keep_the_microphone_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    from flowpi.audio import tones

    monkeypatch.setattr(tones, "OVERDUE_S", 0.0)
    async with hall() as room:
        room.speaker.stuck.clear()
        room.cues.play(Cue.START)
        await until(lambda: room.masked() and room.masked()[0][1] < math.inf)
        written = len(room.speaker.heard)
        room.speaker.stuck.set()
        await until(lambda: "close" in room.speaker.said)
        assert len(room.speaker.heard) == written  # nor does it continue when the device is back


async def test_a_missing_device_is_told_once_and_again_after_it_worked(caplog: pytest.LogCaptureFixture) -> None:
    def warnings() -> list[str]:
        return [record.message for record in caplog.records if record.levelno == logging.WARNING]

    async with hall() as room:
        room.speaker.missing = errno.ENOENT
        for number in range(1, 4):
            room.cues.play(Cue.START)
            await room.asked(number)
            await until(warnings)
        message = "no tones from 'hall' (No such file or directory): see `aplay -L` and set cues.device"
        assert warnings() == [message]
        room.speaker.missing = 0
        room.cues.play(Cue.START)
        await until(lambda: "close" in room.speaker.said)
        await until(lambda: not room.cues._reported)
        room.speaker.missing = errno.ENODEV
        room.cues.play(Cue.START)
        await until(lambda: len(warnings()) == 2)


# The real library


@pytest.fixture
def card(microphone: Microphone, tmp_path: Path) -> Callable[[], bytes]:
    """Configure the ALSA playback device `cues`, which writes to a file. Return a function that reads it."""
    played = tmp_path / "played.raw"
    with microphone.config_path.open("a") as file:
        file.write(f'\npcm.cues {{ type plug slave.pcm {{ type file file "{played}" format raw slave.pcm null }} }}\n')
    return lambda: played.read_bytes() if played.exists() else b""


async def test_alsa_plays_the_tones(card: Callable[[], bytes]) -> None:
    mask = CueMask()
    cues = AlsaCues("cues", 0.5, mask)
    cues.play(Cue.KEPT)
    await until(lambda: mask._sounds and mask._sounds[0].until < math.inf)
    assert card().startswith(tone(Cue.KEPT, 0.5))
    cues.close()


def test_alsa_says_what_is_wrong(microphone: Microphone) -> None:
    with pytest.raises(OSError, match="No such file or directory"):
        Playback("nonesuch")


async def test_the_tones_are_never_in_the_recording_and_no_frame_is_missing(
    microphone: Microphone, card: Callable[[], bytes]
) -> None:
    """Each sample of this microphone encodes when it was heard: what was not masked must be unchanged."""
    loop = asyncio.get_running_loop()
    mask = CueMask()
    capture = Capture(
        AlsaSource("live"),
        Timing(),
        on_fault=lambda error: None,
        on_recovery=lambda: None,
        on_silence=lambda silent: None,
        on_level=lambda level: None,
        mask=mask,
    )
    cues = AlsaCues("cues", 0.5, mask)
    capture.start()
    microphone.speak(array("h", [1000] * 3 * RATE_HZ).tobytes())
    await asyncio.sleep(0.6)
    entry = beginning()
    pressed = loop.time()
    capture.begin(entry, pressed)
    cues.play(Cue.START)
    await asyncio.sleep(0.7)
    released = loop.time()
    capture.end(entry, released)
    await entry.wait_complete()
    capture.close()
    cues.close()
    samples = array("h", entry.read(0, entry.length))
    assert capture.gaps == 0
    assert len(samples) / RATE_HZ > 0.3 + released - pressed + 0.2 - 0.05
    silent = [at for at, sample in enumerate(samples) if sample == 0]
    (sound,) = mask._sounds
    sounding = round((sound.until - sound.since) * RATE_HZ)
    assert not any(samples[silent[0] : silent[0] + sounding])
    assert entry.completed_at is not None
    began, ended = (entry.completed_at - (len(samples) - at) / RATE_HZ for at in (silent[0], silent[-1] + 1))
    assert sound.since - SLACK_S < began < sound.since + 0.05
    assert sound.until - 0.05 < ended < sound.until + SLACK_S
