"""Decides how bright the LED may be: less at night, if the user wants that."""

from datetime import time

from flowpi.config.schema import LedSettings


def brightness(led: LedSettings, now: time) -> float:
    """Return a brightness from 0 to 1. `now`: the local time of day."""
    night = led.night
    if night is None:
        return led.brightness
    start, end = time.fromisoformat(night.start), time.fromisoformat(night.to)
    # A night that ends before it begins ends on the next day.
    dark = start <= now < end if start <= end else now >= start or now < end
    return min(night.brightness, led.brightness) if dark else led.brightness
