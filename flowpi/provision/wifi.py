"""The Wi-Fi network in the file on the boot partition, checked: `wifi: {ssid, password, country}`. Writes nothing.

`wifi` is no part of the configuration in /etc, and neither the daemon nor the recogniser ever sees its password.

What is kept is the key that WPA2 derives from the password, as `wpa_passphrase` does: it opens this network, and says
nothing about where else the user has the same password. It also opens a network that has both WPA2 and WPA3. SAE, the
key exchange of WPA3 alone, needs the password itself, so with `wpa3: true` that is kept. It is no default, because the
Wi-Fi of a Raspberry Pi has it only with some firmware, and not reliably.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from flowpi.config.hints import NO, YES
from flowpi.core.errors import ConfigError

if TYPE_CHECKING:
    import yaml

    from flowpi.config.checks import Key

SECTION = "wifi"
KEYS = ("ssid", "password", "country", "hidden", "wpa3")

NONE: Final = "none"
"""As `wifi`: the network is to be forgotten. As its password: the network is open."""

KEPT = "kept"
"""The password that stands for the one which the appliance has; a real one has 8 characters at least."""

PRINTABLE = re.compile(r"[ -~]{8,63}")
HEX_KEY = re.compile(r"[0-9A-Fa-f]{64}")


class Network(Struct, frozen=True):
    """A Wi-Fi network.

    Attributes:
        ssid: the name, 1 to 32 bytes.
        country: two capital letters.
        key: 64 hexadecimal digits, the password itself with `wpa3`, `KEPT`, or None for an open network.
        hidden: the network does not send its name, and is asked for.
        wpa3: the network is joined by SAE alone.
    """

    ssid: bytes
    country: str
    key: str | None
    hidden: bool = False
    wpa3: bool = False

    def __repr__(self) -> str:
        return f"Network({self.ssid!r})"


Wifi = Network | Literal["none"] | None
"""A network, `NONE` to forget it, or None: whatever there is stays."""


def understand(scalars: "Mapping[Key, yaml.ScalarNode]", lines: "Mapping[Key, int]", name: str) -> Wifi:
    """Return the Wi-Fi in the scalar nodes of a file in which `wifi` is set.

    The text of a node counts and not its type, so that `country: NO` is Norway.

    Raises:
        ConfigError: it cannot be used; no error repeats a value.
    """

    def error(key: str, problem: str, hint: str) -> ConfigError:
        where = (SECTION, key) if key else (SECTION,)
        return ConfigError(name, lines.get(where, lines[SECTION,]), ".".join(where), problem, hint)

    whole = scalars.get((SECTION,))
    if whole is not None:
        if _text(whole) == NONE:
            return NONE
        problem = "is empty" if not _text(whole) else "must be a mapping, or none"
        raise error("", problem, "write its keys below it, each after two spaces: ssid, password, country")
    nodes = {key[1:]: node for key, node in scalars.items() if key[0] == SECTION}
    for inner in nodes:
        if inner[0] not in KEYS:
            line = lines.get((SECTION, inner[0]), lines[SECTION,])
            # Without the key, which may be a password in the wrong place.
            raise ConfigError(name, line, SECTION, "has a key that is not known", f"known here: {', '.join(KEYS)}")
        if len(inner) > 1:
            raise error(inner[0], "must be text", "write it in one line, in quotes")
    said = {key: _text(nodes[key,]) if (key,) in nodes else None for key in KEYS}
    for key in ("ssid", "password", "country"):
        if not said[key]:
            raise error(key, "is missing" if said[key] is None else "is empty", MISSING[key])
    problems = (_wrong_ssid, _wrong_password, _wrong_country)
    for key, wrong in zip(("ssid", "password", "country"), problems, strict=True):
        if found := wrong(said[key] or ""):
            raise error(key, *found)
    for key in ("hidden", "wpa3"):
        if (said[key] or "no").lower() not in (*YES, *NO):
            raise error(key, "must be true or false", "leave it out if you do not know it")
    hidden, wpa3 = ((said[key] or "no").lower() in YES for key in ("hidden", "wpa3"))
    ssid, password = (said["ssid"] or "").encode(), said["password"] or ""
    if wpa3 and (password == NONE or HEX_KEY.fullmatch(password)):
        raise error("password", "must be the password itself, as WPA3 needs it", "write it, or take wpa3 out")
    key_of = None if password == NONE else _key(ssid, password, wpa3=wpa3)
    return Network(ssid, (said["country"] or "").upper(), key_of, hidden, wpa3)


MISSING = {
    "ssid": "write the name of the network, in quotes",
    "password": "write the password of the network, in quotes; for an open network write none",
    "country": "write the two letters of the country that the appliance is in, such as DE or US",
}


def with_kept(network: Network, present: Network | None) -> Network:
    """Return the network with the key that is in use in the place of `KEPT`.

    Raises:
        ConfigError: there is none, or it belongs to another network; without the file and the line.
    """
    if network.key != KEPT:
        return network
    problem = ""
    if present is None or present.key is None:
        problem = "is kept, and this appliance has none"
    elif present.ssid != network.ssid:
        problem = "is kept, but belongs to a network of another name"
    elif network.wpa3 and not present.wpa3:
        problem = "is kept, but WPA3 needs the password itself"
    if problem or present is None or present.key is None:
        raise ConfigError("configuration", None, f"{SECTION}.password", problem, "write the password itself there")
    return replace(network, key=_key(network.ssid, present.key, wpa3=network.wpa3))


def shown(network: Network) -> dict[str, object]:
    """Return the section for a file that may be taken over again; it says nothing about the password."""
    section: dict[str, object] = {
        "ssid": network.ssid.decode(errors="replace"),
        "password": NONE if network.key is None else KEPT,
        "country": network.country,
    }
    return section | ({"hidden": True} if network.hidden else {}) | ({"wpa3": True} if network.wpa3 else {})


def _key(ssid: bytes, password: str, *, wpa3: bool) -> str:
    if wpa3 or password == KEPT:
        return password
    if HEX_KEY.fullmatch(password):
        return password.lower()
    # IEEE 802.11i, H.4.
    return hashlib.pbkdf2_hmac("sha1", password.encode(), ssid, 4096, 32).hex()


def _text(node: "yaml.ScalarNode") -> str:
    """Return what a node says, empty for null. A block of text ends with a line end that nobody means."""
    if node.tag.endswith(":null"):
        return ""
    text = str(node.value)
    return text.rstrip("\n") if node.style in ("|", ">") else text


def _wrong_ssid(ssid: str) -> tuple[str, str] | None:
    if len(ssid.encode()) > 32:
        return "is longer than 32 bytes", "copy the name of the network from the router"
    return None


def _wrong_password(password: str) -> tuple[str, str] | None:
    if password in (NONE, KEPT) or PRINTABLE.fullmatch(password) or HEX_KEY.fullmatch(password):
        return None
    if not password.isascii() or not password.isprintable():
        return "has a character that no Wi-Fi password has", "it has letters without accents, digits and signs only"
    return "must have 8 to 63 characters, or be 64 hexadecimal digits", "copy it from the router, and put it in quotes"


def _wrong_country(country: str) -> tuple[str, str] | None:
    if re.fullmatch(r"[A-Za-z]{2}", country) is None:
        return "must be two letters", MISSING["country"]
    if country.upper() == "UK":
        return "is not the code of a country", "did you mean GB?"
    return None
