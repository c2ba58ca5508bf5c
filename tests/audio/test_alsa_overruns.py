"""Overruns of the ALSA driver: what is lost is a gap of the right length, and what follows is in its time."""

import time

import pytest

from flowpi.audio.alsa import AlsaSource
from flowpi.dsp.format import RATE_HZ
from tests.audio.listening import gaps, length, listen, missing, read_once, samples, sound, wait_until
from tests.audio.opener import Opener
from tests.rig.microphone import Microphone

PERIOD = RATE_HZ // 50
BUFFER_MS = 400
"""So much that a busy machine, which may read late, overruns only where a test does."""
OVERRUN_S = 0.7

pytestmark = pytest.mark.usefixtures("microphone")


def stall(source: AlsaSource, seconds: float) -> None:
    wait_until(time.monotonic() + seconds)


def test_an_overrun_is_a_gap_of_the_length_that_is_missing(opened: Opener) -> None:
    source = opened(AlsaSource("clock", buffer_ms=BUFFER_MS))
    heard = listen(source, 5 * PERIOD)
    stall(source, OVERRUN_S)
    heard += listen(source, 50 * PERIOD)
    (gap,) = gaps(heard)
    (lost,) = missing(sound(heard))
    assert lost > 0.3 * RATE_HZ
    assert gap.frames == pytest.approx(lost, abs=PERIOD)


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
    assert len(gaps(heard)) == 4
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
    assert len(gaps(heard)) == 1
    slack = 2 * PERIOD + source.period_s * RATE_HZ
    assert (ended - begun) * RATE_HZ - slack <= length(heard) <= (until - since) * RATE_HZ + slack


def test_speech_of_a_gap_is_lost_and_what_follows_is_in_time(opened: Opener, microphone: Microphone) -> None:
    source = opened(AlsaSource("live", buffer_ms=BUFFER_MS))
    listen(source, PERIOD)
    microphone.speak(bytes(64_000))  # two seconds
    heard = listen(source, 5 * PERIOD)
    stall(source, OVERRUN_S)
    heard += listen(source, 50 * PERIOD)
    assert len(gaps(heard)) == 1
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
    assert len(gaps(heard)) == 1
