"""The ALSA driver beyond the contract: overruns, conversion, a device that vanishes, and what alsa-lib would print."""

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import alsaaudio
import pytest

from flowpi.audio import cards
from flowpi.audio.alsa import AlsaSource
from flowpi.audio.cards import Card
from flowpi.audio.source import Heard
from flowpi.core.errors import MicrophoneError
from flowpi.dsp.format import RATE_HZ
from flowpi.dsp.level import measure
from tests.audio.listening import gaps, length, listen, missing, read_once, samples, sine, sound, wait_until
from tests.rig.microphone import Microphone
from tests.waiting import PATIENCE_S, wait_for

PERIOD = RATE_HZ // 50

EDGE_S = 0.002
"""How late a read may be that shows a source when a period ends."""

pytestmark = pytest.mark.usefixtures("microphone")


@pytest.fixture
def opened() -> Iterator["Opener"]:
    opener = Opener()
    yield opener
    opener.close()


class Opener:
    """Opens sources, and closes them when the test is over."""

    def __init__(self) -> None:
        self._sources: list[AlsaSource] = []

    def __call__(self, source: AlsaSource) -> AlsaSource:
        self._sources.append(source)
        source.open(time.monotonic())
        return source

    def close(self) -> None:
        for source in self._sources:
            source.close()


def stall(source: AlsaSource, seconds: float) -> None:
    wait_until(time.monotonic() + seconds)


# Overruns

BUFFER_MS = 400
"""So much that a busy machine, which may read late, overruns only where a test does."""
OVERRUN_S = 0.7


def test_an_overrun_is_a_gap_of_the_length_that_is_missing(opened: Opener) -> None:
    source = opened(AlsaSource("clock", buffer_ms=BUFFER_MS))
    heard = listen(source, 5 * PERIOD)
    stall(source, OVERRUN_S)
    heard += listen(source, 50 * PERIOD)
    lost = missing(sound(heard))
    assert max(lost) > 0.3 * RATE_HZ
    assert [gap.frames for gap in gaps(heard)] == pytest.approx(lost, abs=PERIOD)  # a machine that stalls adds some


def test_sound_and_gaps_account_for_all_of_real_time(opened: Opener) -> None:
    source = opened(AlsaSource("clock", buffer_ms=BUFFER_MS))
    _, since, begun = read_once(source)
    heard = listen(source, 5 * PERIOD)
    for _ in range(4):  # the errors of several gaps must not add up
        stall(source, OVERRUN_S)
        heard += listen(source, 3 * PERIOD)
    heard += listen(source, 3 * PERIOD)
    more, ended, until = read_once(source)
    heard += more
    assert len(gaps(heard)) >= 4
    assert (ended - begun) * RATE_HZ - 2 * PERIOD <= length(heard) <= (until - since) * RATE_HZ + 2 * PERIOD
    first, last = samples(sound(heard))[0], samples(sound(heard))[-1]
    assert length(heard) == pytest.approx((last - first) % 65_536 + 1, abs=PERIOD)


def test_an_overrun_of_a_resampled_device_loses_nothing_of_what_was_read_before(opened: Opener) -> None:
    source = opened(AlsaSource("usb48", buffer_ms=BUFFER_MS))
    _, since, begun = read_once(source)
    heard = listen(source, 10 * PERIOD)
    stall(source, OVERRUN_S)
    heard += listen(source, 60 * PERIOD)
    more, ended, until = read_once(source)
    heard += more
    assert gaps(heard)
    slack = 2 * PERIOD + source.period_s * RATE_HZ
    assert (ended - begun) * RATE_HZ - slack <= length(heard) <= (until - since) * RATE_HZ + slack


def test_speech_of_a_gap_is_lost_and_what_follows_is_in_time(opened: Opener, microphone: Microphone) -> None:
    source = opened(AlsaSource("live", buffer_ms=BUFFER_MS))
    listen(source, PERIOD)
    microphone.speak(bytes(64_000))  # two seconds
    heard = listen(source, 5 * PERIOD)
    stall(source, OVERRUN_S)
    heard += listen(source, 50 * PERIOD)
    assert gaps(heard)
    assert microphone.unheard() == pytest.approx(64_000 - 2 * length(heard), abs=4 * PERIOD)


def test_a_device_that_stands_still_is_silent_and_the_time_is_a_gap(opened: Opener, microphone: Microphone) -> None:
    source = opened(AlsaSource("clock", buffer_ms=BUFFER_MS))
    heard = listen(source, 5 * PERIOD)
    microphone.freeze()
    source.read(time.monotonic())
    stall(source, OVERRUN_S)
    assert source.read(time.monotonic()) == []
    microphone.thaw()
    heard += listen(source, 5 * PERIOD)
    assert gaps(heard)


# Devices that differ from what was requested


def test_48_khz_stereo_arrives_with_its_level_and_length(opened: Opener, microphone: Microphone) -> None:
    source = opened(AlsaSource("usb48"))
    said = sine(0.5, 48_000)
    microphone.speak(b"".join(sample.to_bytes(2, "little", signed=True) * 2 for sample in said), "usb48")
    heard = sound(listen(source, RATE_HZ))
    assert gaps([heard]) == []
    assert_one_sine(heard, 0.5)


def test_32_bit_stereo_arrives_with_its_level_and_length(opened: Opener, microphone: Microphone) -> None:
    source = opened(AlsaSource("i2s"))
    said = sine(0.5, 48_000)
    microphone.speak(b"".join((sample << 16).to_bytes(4, "little", signed=True) * 2 for sample in said), "i2s")
    assert_one_sine(sound(listen(source, RATE_HZ)), 0.5)


def test_conversion_by_alsa_itself_arrives_with_its_level_and_length(opened: Opener, microphone: Microphone) -> None:
    source = opened(AlsaSource("usb48plug"))
    said = sine(0.5, 48_000)
    microphone.speak(b"".join(sample.to_bytes(2, "little", signed=True) * 2 for sample in said), "usb48")
    assert_one_sine(sound(listen(source, RATE_HZ)), 0.5)


def assert_one_sine(pcm: bytes, seconds: float) -> None:
    """Assert that `pcm` is `sine(seconds)` somewhere in silence."""
    loud = [n for n, sample in enumerate(memoryview(pcm).cast("h")) if abs(sample) > 500]
    assert (loud[-1] - loud[0]) / RATE_HZ == pytest.approx(seconds, abs=0.002)
    inner = pcm[2 * loud[0] + 400 : 2 * loud[-1] - 400]
    assert measure(inner).dbfs == pytest.approx(-13.3, abs=0.2)  # 10000 / 32768 / sqrt 2


def test_the_buffer_is_as_long_as_asked_whatever_the_rate(opened: Opener) -> None:
    source = opened(AlsaSource("usb48"))  # 16 kHz requested: the same number of frames lasts a third of the time
    heard = listen(source, 10 * PERIOD)
    stall(source, 0.6)
    heard += listen(source, 40 * PERIOD)
    assert gaps(heard) == []


@pytest.mark.parametrize("channel", ["mix", 0, 3])
def test_a_channel_is_chosen_or_all_are_mixed(opened: Opener, channel: int) -> None:
    source = opened(AlsaSource("array", channel=channel))
    pcm = sound(listen(source, 10 * PERIOD))
    assert missing(pcm) == []


def find_edge(source: AlsaSource) -> None:
    """Read until a read that was not late has found a period: then the source knows within `EDGE_S` when one ends."""
    found = False
    while not found:
        due = source.due(time.monotonic())
        wait_until(due)
        heard = source.read(time.monotonic())
        found = length(heard) >= PERIOD and time.monotonic() - due < EDGE_S


def test_what_is_read_when_due_reaches_up_to_the_moment_asked_for(opened: Opener) -> None:
    source = opened(AlsaSource("clock"))
    listen(source, 5 * PERIOD)
    find_edge(source)
    seen = 0
    while seen < 25:
        after = time.monotonic() + 0.0137
        wait_until(source.due(after))
        heard = source.read(time.monotonic())
        if gaps(heard):  # the machine stood still for longer than the buffer is
            find_edge(source)
            continue
        seen += 1
        last = samples(sound(heard))[-1]
        # As late as the machine is; of an early one nearly a whole turn.
        late = (last + 1 - (after - EDGE_S) * RATE_HZ) % 65_536
        assert late < 32_768, "it ends before that moment"


def test_a_channel_that_is_not_there(opened: Opener) -> None:
    with pytest.raises(MicrophoneError, match=r"no channel 1.*audio\.channel"):
        opened(AlsaSource("clock", channel=1))


def test_the_resampler_is_in_the_grain_of_delivery(opened: Opener) -> None:
    assert opened(AlsaSource("clock")).period_s == 0.020
    source = opened(AlsaSource("usb48"))
    assert 0.020 < source.period_s < 0.1
    began = time.monotonic()
    heard = list[Heard]()

    def behind_s() -> float:
        heard.extend(listen(source, 4 * PERIOD))
        return time.monotonic() - began - length(heard) / RATE_HZ

    wait_for(lambda: behind_s() <= source.period_s + 0.02, "it is always later")  # or for want of a processor


def test_a_pcm_without_a_clock_is_no_microphone(opened: Opener) -> None:
    source = opened(AlsaSource("null"))
    with pytest.raises(MicrophoneError, match="faster than real time"):
        source.read(time.monotonic())
    with pytest.raises(MicrophoneError, match="not open"):
        source.read(time.monotonic())


# A device that vanishes


def test_unplugged_it_says_so_and_replugged_it_opens(opened: Opener, microphone: Microphone) -> None:
    source = opened(AlsaSource("clock"))
    listen(source, 5 * PERIOD)
    microphone.unplug()
    with pytest.raises(MicrophoneError) as caught:
        source.read(time.monotonic())
    assert caught.value.device == "clock"
    assert caught.value.reason == "No such device"
    assert "plug" in caught.value.hint
    with pytest.raises(MicrophoneError):  # instead of an abort inside pyalsaaudio
        source.read(time.monotonic())
    with pytest.raises(MicrophoneError):
        source.open(time.monotonic())
    microphone.plug_in()
    source.open(time.monotonic())
    assert missing(sound(listen(source, 5 * PERIOD))) == []


def test_a_card_that_came_later_is_found_by_its_name(microphone: Microphone) -> None:
    source = AlsaSource("clock")
    microphone.unplug()
    with pytest.raises(MicrophoneError, match="No such device"):
        source.trial()
    before = os.stat(microphone.config_path)
    microphone.plug_in_as_another_card()
    # By this alone alsa-lib recognises that its configuration has changed.
    os.utime(microphone.config_path, ns=(before.st_atime_ns, before.st_mtime_ns))
    source.trial()
    source.open(time.monotonic())
    assert missing(sound(listen(source, 5 * PERIOD))) == []
    source.close()


@pytest.mark.parametrize("device", ["nonesuch", "hw:7", "plughw:CARD=seeed"])
def test_a_trial_says_what_opening_says(device: str) -> None:
    told = attempts(AlsaSource(device))
    assert told[0] == told[1]


def test_a_busy_device_is_told_and_free_again(opened: Opener, microphone: Microphone) -> None:
    source = AlsaSource("clock")
    microphone.take()
    for attempt in (source.trial, lambda: source.open(time.monotonic())):
        with pytest.raises(MicrophoneError, match=r"Device or resource busy.*fuser"):
            attempt()
    microphone.give_back()
    source.trial()
    assert length(listen(opened(source), PERIOD))


def test_trials_leave_no_descriptor(microphone: Microphone) -> None:
    source = AlsaSource("clock")
    source.trial()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        source.trial()
    microphone.unplug()
    for _ in range(50):
        with pytest.raises(MicrophoneError):
            source.trial()
    assert len(os.listdir("/proc/self/fd")) <= before


def attempts(source: AlsaSource) -> list[str]:
    """Return what a trial and what opening says of a source that does not open."""
    told = []
    for attempt in (source.trial, lambda: source.open(time.monotonic())):
        with pytest.raises(MicrophoneError) as caught:
            attempt()
        told.append(str(caught.value))
    return told


def found(*cards: Card) -> Callable[[], list[Card]]:
    return lambda: list(cards)


SPEAKS, RECORDS, ALSO = Card(0, "vc4hdmi0", False), Card(1, "Device", True), Card(2, "Webcam", True)


def test_the_default_is_the_only_card_that_records_where_the_first_one_does_not(
    opened: Opener, monkeypatch: pytest.MonkeyPatch, microphone: Microphone
) -> None:
    default = AlsaSource("default")
    monkeypatch.setattr(cards, "cards", found(SPEAKS))
    assert attempts(default) == ["no sound from 'default' (no sound card here records): plug a microphone in, and it is"
        " found; for one on the pins set `board`, see docs/hardware.md"] * 2  # fmt: skip
    # A card appears.
    monkeypatch.setattr(cards, "cards", found(SPEAKS, RECORDS))
    monkeypatch.setattr(Card, "device", "clock")
    default.trial()
    assert sound(listen(opened(default), 5 * PERIOD))
    with pytest.raises(MicrophoneError):
        AlsaSource("another").open(time.monotonic())


def test_of_several_cards_that_record_the_default_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cards, "cards", found(SPEAKS, RECORDS, ALSO))
    choose = "set audio.device to one of plughw:CARD=Device, plughw:CARD=Webcam"
    assert attempts(AlsaSource("default")) == [
        f"no sound from 'default' (several sound cards record): {choose}"
    ] * 2  # fmt: skip


def default_is(microphone: Microphone, device: str) -> None:
    with microphone.config_path.open("a") as file:
        file.write(f'pcm.!default {{ type plug slave.pcm "{device}" }}\n')


def test_a_default_that_works_stays(opened: Opener, monkeypatch: pytest.MonkeyPatch, microphone: Microphone) -> None:
    default_is(microphone, "live")
    monkeypatch.setattr(cards, "cards", found(RECORDS))
    microphone.speak(sine(0.5).tobytes())
    default = AlsaSource("default")
    default.trial()
    assert measure(sound(listen(opened(default), RATE_HZ // 4))).peak_dbfs > -20


def test_a_default_that_another_program_has_is_no_reason_to_choose(
    monkeypatch: pytest.MonkeyPatch, microphone: Microphone
) -> None:
    default_is(microphone, "live")
    microphone.take()
    monkeypatch.setattr(cards, "cards", found(RECORDS, ALSO))
    assert all("Device or resource busy" in told for told in attempts(AlsaSource("default")))


def test_a_microphone_is_found_by_its_port_also_after_it_changed_places(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = AlsaSource("usb:1-1.2")
    monkeypatch.setattr(cards, "cards", found(Card(1, "live", True, "1-1.3")))
    for told in attempts(source):
        assert told == (
            "no sound from 'usb:1-1.2' (no sound card is at this USB port): set audio.device to one of usb:1-1.3 (live)"
        )
    monkeypatch.setattr(Card, "device", property(lambda card: card.id))
    monkeypatch.setattr(cards, "cards", found(Card(1, "live", True, "1-1.3"), Card(2, "clock", True, "1-1.2")))
    source.trial()
    assert missing(sound(listen(opened(source), 5 * PERIOD))) == []  # it is `clock`, which has no noise
    # Both were plugged in again, the other one first.
    monkeypatch.setattr(cards, "cards", found(Card(1, "clock", True, "1-1.2"), Card(2, "live", True, "1-1.3")))
    source.trial()
    assert missing(sound(listen(opened(source), 5 * PERIOD))) == []


def test_a_device_that_does_not_exist() -> None:
    with pytest.raises(MicrophoneError, match=r"'nonesuch' \(No such file or directory\).*arecord -L"):
        AlsaSource("nonesuch").open(time.monotonic())


class ScriptedPcm:
    """A replacement of `alsaaudio.PCM` that does what no test microphone can do."""

    def __init__(self, *reads: tuple[int, bytes] | OSError, form: str = "S16_LE", rate: int = RATE_HZ) -> None:
        self.reads = [(0, b""), *reads]
        self.info_now = {"rate": rate, "channels": 1, "format_name": form, "period_size": rate // 50, "periods": 50}
        self.closed = False

    def __call__(self, **asked: object) -> "ScriptedPcm":
        return self

    def info(self) -> dict[str, object]:
        assert not self.closed, "pyalsaaudio aborts the process here"
        return self.info_now

    def read(self) -> tuple[int, bytes]:
        assert not self.closed
        match self.reads[0]:
            case OSError(errno=code) if code is not None:  # a dead handle keeps failing
                raise alsaaudio.ALSAAudioError(f"{os.strerror(code)} [scripted]")
            case tuple(result):
                del self.reads[0]
                return result
            case other:
                raise AssertionError(other)

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        (errno.ENODEV, "plug the microphone in"),
        (errno.EIO, "USB port"),
        (errno.EBADFD, "plug the microphone in"),
        (errno.ESTRPIPE, "suspended"),
    ],
)
def test_a_dead_handle_is_closed_and_explained(monkeypatch: pytest.MonkeyPatch, code: int, hint: str) -> None:
    pcm = ScriptedPcm(OSError(code, ""))
    monkeypatch.setattr(alsaaudio, "PCM", pcm)
    source = AlsaSource("scripted")
    source.open(0.0)
    with pytest.raises(MicrophoneError, match=hint) as caught:
        source.read(0.02)
    assert caught.value.reason == os.strerror(code)
    assert pcm.closed


@pytest.mark.parametrize("rate", [RATE_HZ, 48_000])
def test_what_was_heard_before_the_device_went_comes_first(monkeypatch: pytest.MonkeyPatch, rate: int) -> None:
    pcm = ScriptedPcm((rate // 50, bytes(rate // 25)), OSError(errno.ENODEV, ""), rate=rate)
    monkeypatch.setattr(alsaaudio, "PCM", pcm)
    source = AlsaSource("scripted", rate)
    source.open(0.0)
    assert length(source.read(0.02)) == PERIOD
    with pytest.raises(MicrophoneError):
        source.read(0.04)


def test_what_resampling_held_back_stands_before_the_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    pcm = ScriptedPcm(*[(960, bytes(1920))] * 5, (-errno.EPIPE, b""), (0, b""), rate=48_000)
    monkeypatch.setattr(alsaaudio, "PCM", pcm)
    source = AlsaSource("scripted", 48_000)
    since = time.monotonic()
    source.open(since)
    until = time.monotonic() + 1.0
    *before, gap = source.read(until)
    assert length(before) == 5 * PERIOD
    assert 0.9 * RATE_HZ - PERIOD <= length([gap]) <= (until - since - 0.1) * RATE_HZ + PERIOD


def test_short_reads_are_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    pcm = ScriptedPcm((7, bytes(14)), (320, bytes(640)), (1, b"ab"), (0, b""))
    monkeypatch.setattr(alsaaudio, "PCM", pcm)
    source = AlsaSource("scripted")
    source.open(0.0)
    assert length(source.read(0.03)) == 328


@pytest.mark.parametrize(
    ("code", "hint"), [(errno.EBUSY, "fuser"), (errno.EACCES, "usermod"), (errno.EINVAL, "plughw")]
)
def test_a_device_that_does_not_open_is_explained(monkeypatch: pytest.MonkeyPatch, code: int, hint: str) -> None:
    def refuse(**asked: object) -> None:
        raise alsaaudio.ALSAAudioError(f"{os.strerror(code)} [hw:1]")

    monkeypatch.setattr(alsaaudio, "PCM", refuse)
    with pytest.raises(MicrophoneError, match=hint) as caught:
        AlsaSource("hw:1").open(0.0)
    assert caught.value.reason == os.strerror(code)


def test_a_format_that_cannot_be_converted_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pcm = ScriptedPcm(form="FLOAT_LE")
    monkeypatch.setattr(alsaaudio, "PCM", pcm)
    with pytest.raises(MicrophoneError, match=r"FLOAT_LE.*plughw"):
        AlsaSource("scripted").open(0.0)
    assert pcm.closed


# Its cost and its output


def run(code: str) -> "subprocess.CompletedProcess[str]":
    """Run `code` in a Python process of its own."""
    command = [sys.executable, "-W", "ignore", "-c", f"import sys\nfrom flowpi.audio.alsa import AlsaSource\n{code}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)


def test_alsa_lib_writes_nothing_to_stderr() -> None:
    done = run(
        "from flowpi.core.errors import MicrophoneError\n"
        "for device in ('nonesuch', 'hw:7', 'plughw:CARD=seeed', 'default'):\n"
        "    try: AlsaSource(device).open(0.0)\n"
        "    except MicrophoneError as error: print(error)\n"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("no sound from") == 4


def test_a_16_khz_microphone_needs_no_numpy() -> None:
    done = run("AlsaSource('clock').open(0.0)\nprint('numpy' in sys.modules)")
    assert done.stdout == "False\n"
