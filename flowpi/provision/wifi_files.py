"""The file in which the system keeps its Wi-Fi network: NetworkManager's if that is enabled, or wpa_supplicant's.

Both programs read their file when they start, which is after `flowpi provision` (flowpi-provision.service).
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from flowpi.core.errors import CannotCreateError
from flowpi.host.folders import FOLDER, replace_file, sync_names
from flowpi.provision.wifi import NONE, Network, Wifi

HEAD = (
    "# Written by flowpi from flowpi.yaml on the boot partition. What is changed here stays until the next such file.\n"
)

ENABLED = "systemd/system/multi-user.target.wants/NetworkManager.service"
"""The link below /etc that exists if NetworkManager starts with the machine. Then wpa_supplicant works for it alone."""

SHOWN_IN_QUOTES = {*map(chr, range(0x20, 0x7F))} - {'"', "\\"}


class Program(NamedTuple):
    """A program that joins a network: its file below /etc, what that says of a network, and the way back."""

    path: str
    written: Callable[[Network], str]
    read: Callable[[dict[str, str]], Network]


def program(etc: Path) -> Program | None:
    """Return the program that joins networks on the system with this /etc, or None."""
    for each in (NETWORK_MANAGER, WPA_SUPPLICANT) if os.path.lexists(etc / ENABLED) else (WPA_SUPPLICANT,):
        if (etc / each.path).parent.is_dir():
            return each
    return None


def present(etc: Path) -> Network | None:
    """Return the network of the system; None if there is none, or not in the form in which it is written here."""
    if (using := program(etc)) is None:
        return None
    lines = (_content(etc / using.path) or b"").decode(errors="replace").splitlines()
    if sum(line.strip().startswith("network={") for line in lines) > 1:
        return None  # one of them is not all that there is
    values = dict(line.strip().partition("=")[::2] for line in lines if "=" in line and not line.startswith("#"))
    try:
        return using.read(values)
    except (KeyError, ValueError):
        return None


def apply(etc: Path, wifi: Wifi) -> None:
    """Write the network durably to the file of the program in use, or delete that file after `NONE`.

    Raises:
        CannotCreateError: the file cannot be written.
    """
    using = program(etc)
    if wifi is None or using is None:
        return
    path = etc / using.path
    try:
        if wifi == NONE:
            _remove(path)
        elif _content(path) != (content := using.written(wifi).encode()):
            replace_file(path, content, 0o600)
    except OSError as error:
        hint = "see whether the card is full or read-only, and whether this is run as root"
        raise CannotCreateError(f"cannot write {path} ({error.strerror})", hint) from None


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _remove(path: Path) -> None:
    names = [name for name in (path.name, f".{path.name}.new") if os.path.lexists(path.with_name(name))]
    if not names:
        return
    folder = os.open(path.parent, FOLDER)
    try:
        for name in names:  # the second, with a key in it too, is left by a power cut in `replace_file`
            os.unlink(name, dir_fd=folder)
        sync_names(folder)
    finally:
        os.close(folder)


def _for_wpa_supplicant(network: Network) -> str:
    """Return the file as wpa_supplicant.conf(5) says. What is not plain is in hexadecimal digits, without quotes."""
    plain = SHOWN_IN_QUOTES.issuperset(network.ssid.decode("latin-1"))
    lines = [f'ssid="{network.ssid.decode()}"' if plain else f"ssid={network.ssid.hex()}"]
    if network.hidden:
        lines.append("scan_ssid=1")
    if network.key is None:
        lines.append("key_mgmt=NONE")
    elif network.wpa3:
        lines += ["key_mgmt=SAE", "ieee80211w=2", f"sae_password={network.key.encode().hex()}"]
    else:
        # A network with both WPA2 and WPA3 often takes the first only with SHA-256 and protected management frames.
        lines += ["key_mgmt=WPA-PSK WPA-PSK-SHA256", "ieee80211w=1", f"psk={network.key}"]
    block = "".join(f"\t{line}\n" for line in lines)
    # 2: either way to derive the element of SAE, of which new access points take one and old ones the other.
    sae = "sae_pwe=2\n" if network.wpa3 else ""
    head = f"{HEAD}ctrl_interface=/run/wpa_supplicant\ncountry={network.country}\n{sae}"
    return f"{head}network={{\n{block}}}\n"


def _from_wpa_supplicant(values: dict[str, str]) -> Network:
    def text(value: str) -> bytes:
        return value[1:-1].encode() if value.startswith('"') else bytes.fromhex(value)

    wpa3 = values["key_mgmt"] == "SAE"
    key = None
    if values["key_mgmt"] != "NONE":  # without either of these it is a kind of network that is not written here
        key = text(values["sae_password"]).decode() if wpa3 else values["psk"].strip('"')
    return Network(
        ssid=text(values["ssid"]),
        country=values["country"],
        key=key,
        hidden=values.get("scan_ssid") == "1",
        wpa3=wpa3,
    )


def _for_network_manager(network: Network) -> str:
    """Return the file as nm-settings-keyfile(5) says.

    The SSID is a list of bytes, which leaves nothing to escape. It is tried for ever, and without power saving. The
    country is there for flowpi alone: NetworkManager uses that of the system.
    """
    wifi = f"[wifi]\nssid={''.join(f'{byte};' for byte in network.ssid)}\npowersave=2\n"
    wifi += "hidden=true\n" if network.hidden else ""
    security = ""
    if network.key is not None:
        psk = network.key.replace("\\", "\\\\").replace(" ", "\\s")
        security = f"[wifi-security]\nkey-mgmt={'sae' if network.wpa3 else 'wpa-psk'}\npsk={psk}\n\n"
    connection = "[connection]\nid=flowpi\ntype=wifi\nautoconnect-retries=0\n"
    return f"{HEAD}{connection}\n{wifi}\n{security}[user]\nflowpi.country={network.country}\n"


def _from_network_manager(values: dict[str, str]) -> Network:
    psk = values.get("psk")
    return Network(
        ssid=bytes(int(byte) for byte in values["ssid"].split(";") if byte),
        country=values["flowpi.country"],
        key=None if psk is None else re.sub(r"\\(.)", lambda found: " " if found[1] == "s" else found[1], psk),
        hidden=values.get("hidden") == "true",
        wpa3=values.get("key-mgmt") == "sae",
    )


WPA_SUPPLICANT = Program("wpa_supplicant/wpa_supplicant-wlan0.conf", _for_wpa_supplicant, _from_wpa_supplicant)
"""As wpa_supplicant@wlan0.service reads it."""

NETWORK_MANAGER = Program(
    "NetworkManager/system-connections/flowpi.nmconnection", _for_network_manager, _from_network_manager
)
