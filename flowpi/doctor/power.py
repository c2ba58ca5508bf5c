"""The check of power supply and heat of a Raspberry Pi, as recorded by its firmware since the machine started."""

from pathlib import Path

from flowpi.doctor.ask import said, text_of
from flowpi.doctor.findings import Finding, fine

PART = "power"

DEVICES = Path("/sys/devices/platform")

FLAGS = "soc*/soc*:firmware/get_throttled"
"""The path of the firmware's flags; on a Pi 5 the parts of the name have an address."""

UNDERVOLTAGE = 0x1
SLOWED = 0xE
"""The bits for: frequency capped, throttled, soft temperature limit."""

SEEN = 16
"""The shift of the bits that record the same at any time since the start (`vcgencmd get_throttled`)."""


def examine(devices: Path = DEVICES) -> list[Finding]:
    """Check power and heat; return no findings on a machine that is no Pi."""
    flags = "".join(map(text_of, devices.glob(FLAGS))).strip() or (
        said("vcgencmd", "get_throttled") or ""
    ).strip().removeprefix("throttled=")
    try:
        return judge(int(flags, 16)) if flags else []
    except ValueError:
        return []


def judge(flags: int) -> list[Finding]:
    def when(bits: int) -> str:
        return "now" if flags & bits else "since the start, not now"

    found = []
    if flags & (UNDERVOLTAGE | UNDERVOLTAGE << SEEN):
        what = f"the supply is too weak ({when(UNDERVOLTAGE)}): USB microphones drop out, and cards break"
        hint = "use the supply that belongs to the Pi, and a short thick cable"
        found.append(Finding(PART, "warning", "undervoltage", what, hint))
    if flags & (SLOWED | SLOWED << SEEN):
        what = f"the processor is slowed down ({when(SLOWED)}): texts come later"
        found.append(Finding(PART, "warning", "throttled", what, "let air to the Pi, or give it a heat sink"))
    return found or [fine(PART, "is enough")]
