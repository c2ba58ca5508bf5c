"""The check of the Wi-Fi: that it saves no power, and that the network from the boot partition is joined.

A machine without Wi-Fi has no findings, nor has one whose Wi-Fi is not in use.
"""

import os
from pathlib import Path

from flowpi.doctor.ask import said, text_of
from flowpi.doctor.findings import Finding, fine, skipped
from flowpi.provision.wifi_files import NETWORK_MANAGER, Program, program

PART = "Wi-Fi"

ROOT = Path("/")
INTERFACES = "sys/class/net/*/phy80211"
SWITCHES = "sys/class/rfkill/rfkill*"

IW = "/usr/sbin/iw"
"""Not in the PATH of every user. Whether the Wi-Fi saves power is in no file: the kernel tells it by netlink alone."""

STAY_AWAKE = {
    True: (
        r"printf '[connection]\nwifi.powersave=2\n' | sudo tee /etc/NetworkManager/conf.d/powersave.conf && "
        "sudo systemctl restart NetworkManager"
    ),
    False: (
        """echo 'ACTION=="add", SUBSYSTEM=="net", KERNEL=="{0}", RUN+="{1} dev {0} set power_save off"' | """
        "sudo tee /etc/udev/rules.d/70-wifi-power.rules && sudo {1} dev {0} set power_save off"
    ),
}
"""The commands that turn power saving off for good, with NetworkManager and without."""


def examine(root: Path = ROOT) -> list[Finding]:
    names = sorted(path.parent.name for path in root.glob(INTERFACES))
    up = [name for name in names if text_of(root / "sys/class/net" / name / "operstate").strip() == "up"]
    using = program(root / "etc")
    managed = using is NETWORK_MANAGER
    if names and not up and using is not None and os.path.lexists(root / "etc" / using.path):
        return [_not_joined(root, names[0], using)]
    return [_saving(name, said(IW, "dev", name, "get", "power_save"), managed=managed) for name in up]


def _saving(name: str, shown: str | None, *, managed: bool) -> Finding:
    """Return the finding for an interface that is in use. `shown`: what `iw` says of it, None if it says nothing."""
    match (shown or "").strip():
        case "Power save: off":
            return fine(PART, f"{name} is up, and saves no power")
        case "Power save: on":
            what = f"{name} saves power: each answer from the network may take up to two seconds"
            return Finding(PART, "warning", "power_save", what, STAY_AWAKE[managed].format(name, IW))
        case _:
            return skipped(PART, f"whether {name} saves power is unknown without iw (sudo apt-get install iw)")


def _not_joined(root: Path, name: str, using: Program) -> Finding:
    """Return the finding for the network of the boot partition that is not joined."""
    switches = [switch for switch in root.glob(SWITCHES) if text_of(switch / "type").strip() == "wlan"]
    if any(text_of(switch / "hard").strip() == "1" for switch in switches):
        return Finding(PART, "warning", "radio_off", f"{name} is switched off by a switch", "turn that switch on")
    if any(text_of(switch / "soft").strip() == "1" for switch in switches):
        what = f"{name} is switched off by the system, as on Raspberry Pi OS until it has a country"
        hint = "`sudo raspi-config nonint do_wifi_country DE`, with your country; elsewhere `sudo rfkill unblock wifi`"
        return Finding(PART, "warning", "radio_off", what, hint)
    unit = "NetworkManager" if using is NETWORK_MANAGER else f"wpa_supplicant@{name}"
    hint = f"`sudo journalctl -b -u {unit} -n 30` says why; correct `wifi` in flowpi-taken.yaml on the boot partition"
    return Finding(PART, "warning", "not_joined", f"{name} has not joined the network from flowpi.yaml", hint)
