"""Checks of the addresses in the configuration: whether they are valid, and whether only this machine reaches them."""

import ipaddress
import re
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

MAX_SOCKET_PATH = 107
"""The longest path of a Unix socket: 108 bytes in unix(7), including the one that ends it."""

CONTROL = ("has a control character", "write it in quotes without \\n, \\t and the like")
"""What is wrong with a text that `has_control`, and what to do."""

NEAR = (".local", ".home.arpa", ".lan")
"""How names end that only the network of a house or a firm knows."""


MAX_HOST = 253
MAX_LABEL = 63
"""The longest name in the DNS, and the longest part of one, between two dots: RFC 1035, section 2.3.4."""

UNIX_EXAMPLES = {"ws+unix": "ws+unix:///run/flowpi/asr.sock", "unix": "unix:///run/mosquitto/mosquitto.sock"}


def url_problems(url: str, schemes: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a URL and what to do; never the URL itself, because people put keys into it.

    `schemes`: those that are allowed. `ws+unix` is a WebSocket through the Unix socket of that path; `unix` is that
    socket itself.
    """
    scheme, mark, rest = url.partition("://")
    if not mark or scheme not in schemes:
        yield f"must start with {one_of([f'{name}://' for name in schemes])}", ""
    elif has_control(url):
        yield CONTROL
    elif scheme in UNIX_EXAMPLES:
        if not rest.startswith("/"):
            yield "must name an absolute path", f"as in {UNIX_EXAMPLES[scheme]}"
        elif len(rest.encode()) > MAX_SOCKET_PATH:
            yield f"names a path of more than {MAX_SOCKET_PATH} bytes", "Linux takes no longer one for a socket"
    elif not re.match(r"[^\s/?#]", rest) or re.search(r"\s", rest):
        yield "names no host", f"as in {scheme}://host.example"
    elif re.search(r"[?&][^=&]*(key|token|secret|password)[^=&]*=", rest, re.I):
        yield "holds a key", "keys have keys of their own: client_key, api_key, token"
    elif "@" in re.split(r"[/?#]", rest)[0]:
        yield "holds a user name or password", "they have keys of their own"
    else:
        host = ""
        try:
            host, port = urlsplit(url).hostname or "", urlsplit(url).port
        except ValueError:
            port = -1
        if port is not None and not 0 < port < 65_536:
            yield "is no address", f"as in {scheme}://host.example:443"
        if len(host.rstrip(".")) > MAX_HOST or any(len(label) > MAX_LABEL for label in host.split(".")):
            yield "names a host that is too long", f"a name has {MAX_HOST} characters, and {MAX_LABEL} between two dots"


def has_control(text: str) -> bool:
    """Return whether a text holds a control character, such as NUL, TAB or DEL."""
    return re.search(r"[\x00-\x1f\x7f-\x9f]", text) is not None


def plain_text_warning(key: str, url: str, secure_scheme: str) -> Iterator[str]:
    """Yield a warning if a key that is sent to `url`, which is not encrypted, leaves this machine.

    `key`: the dotted key of the settings that the URL belongs to.
    """
    if not is_loopback(urlsplit(url).hostname or ""):
        yield f"{key} sends its key over the network in plain text: use {secure_scheme}://"


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches `host`: a name or an address, IPv6 in brackets or not."""
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return host == "localhost"


def is_near(host: str) -> bool:
    """Return whether `host` is on this machine or, judged by its name or address, in a network of one's own."""
    if is_loopback(host):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.lower().rstrip(".")
        return "." not in name or name.endswith(NEAR)
    return address.is_private or address.is_link_local


def one_of(words: Sequence[str]) -> str:
    """Return the words as a choice in English: "a, b or c"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
