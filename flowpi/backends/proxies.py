"""Which addresses are reached without the proxy of the environment, beyond what the libraries know.

Loopback never goes by a proxy: nobody means that, and one that is set for the cloud would cut off the recogniser on
this machine and every tunnel. `no_proxy` may hold networks, such as 192.168.0.0/16, as many programs understand them.
"""

import ipaddress
from urllib.request import getproxies_environment

from flowpi.config.addresses import is_loopback


def bypasses_proxy(host: str) -> bool:
    """Return whether to connect to a host directly. `host`: a name or address, IPv6 without brackets."""
    if is_loopback(host) or host.rpartition(".")[2] == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False  # a name: the libraries compare those
    return any(address in network for network in _networks(getproxies_environment().get("no", "")))


def _networks(no_proxy: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """Return the networks in a list of `no_proxy`."""
    networks = []
    for entry in no_proxy.split(","):
        try:
            networks.append(ipaddress.ip_network(entry.strip().strip("[]"), strict=False))
        except ValueError:
            continue
    return networks
