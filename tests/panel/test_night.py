"""The LED at night, minute by minute."""

from datetime import time

import pytest

from flowpi.config.schema import LedSettings, NightSettings
from flowpi.panel.night import brightness

NIGHT, AFTERNOON = NightSettings("22:00", "07:00", 0.1), NightSettings("12:30", "14:00", 0.0)


@pytest.mark.parametrize(
    ("night", "now", "wanted"),
    [
        (None, time(3), 0.8),
        (NIGHT, time(21, 59, 59), 0.8),
        (NIGHT, time(22), 0.1),
        (NIGHT, time(0), 0.1),
        (NIGHT, time(6, 59, 59), 0.1),
        (NIGHT, time(7), 0.8),
        (AFTERNOON, time(12, 29), 0.8),
        (AFTERNOON, time(12, 30), 0.0),
        (AFTERNOON, time(14), 0.8),
        (NightSettings("22:00", "22:00", 0.1), time(22), 0.8),
        (NightSettings("22:00", "07:00", 1.0), time(23), 0.8),
    ],
)
def test_brightness(night: NightSettings | None, now: time, wanted: float) -> None:
    assert brightness(LedSettings(brightness=0.8, night=night), now) == wanted
