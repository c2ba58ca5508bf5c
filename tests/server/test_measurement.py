"""The speed of a model, as `flowpi status` and the doctor tell it."""

import threading

from flowpi.server.measurement import SAMPLE_S, cpu_ratio, speed


def test_the_speed_is_the_cpu_time_of_a_second_of_speech() -> None:
    times_s = iter([10.0, 10.0 + 0.25 * SAMPLE_S])
    ratio = cpu_ratio(lambda pcm: "words", lambda: None, lambda: next(times_s))
    assert speed(ratio) == "0.250 s of CPU for a second of speech"


def test_a_model_that_was_halted_has_no_speed() -> None:
    halted = threading.Event()
    assert speed(cpu_ratio(lambda pcm: None, halted.set)) == "too slow to be measured"
