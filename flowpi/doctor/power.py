"""The check of power supply and heat of a Raspberry Pi, as its firmware or its kernel reports them."""

from pathlib import Path

from flowpi.doctor.ask import said, text_of
from flowpi.doctor.findings import Finding, fine, skipped

PART = "power"

ROOT = Path("/")

FLAGS = "sys/devices/platform/soc*/soc*:firmware/get_throttled"
"""The path of the firmware's flags on a kernel of Raspberry Pi; on a Pi 5 the parts of the name have an address."""

SENSORS = "sys/class/hwmon/hwmon*"
SENSOR = "rpi_volt"
ALARM = "in0_lcrit_alarm"
"""The sensor of the mainline kernel, where that was built with it, and its file: 1 if the voltage was too low in the
last seconds. It does not remember more."""

MODEL = "proc/device-tree/model"

UNDERVOLTAGE = 0x1
SLOWED = 0xE
"""The bits for: frequency capped, throttled, soft temperature limit."""

SEEN = 16
"""The shift of the bits that record the same at any time since the start (`vcgencmd get_throttled`)."""


def examine(root: Path = ROOT) -> list[Finding]:
    """Check power and heat; return no findings on a machine that is no Pi."""
    shown = "".join(map(text_of, root.glob(FLAGS))).strip() or (said("vcgencmd", "get_throttled") or "").strip()
    try:
        return judge(int(shown.removeprefix("throttled="), 16))
    except ValueError:  # another kernel, or another machine
        pass
    sensors = [sensor for sensor in root.glob(SENSORS) if text_of(sensor / "name").strip() == SENSOR]
    alarms = [text_of(sensor / ALARM).strip() for sensor in sensors]
    if "1" in alarms:
        return judge(UNDERVOLTAGE)
    if "0" in alarms:
        return [fine(PART, "is enough now; what was before is not known here, nor the heat")]
    if text_of(root / MODEL).startswith("Raspberry Pi"):
        return [skipped(PART, f"unknown, as this kernel has neither get_throttled nor {SENSOR}")]
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
