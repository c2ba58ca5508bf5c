"""A network cable between two containers, which have none otherwise."""

from tests.rig.container import Container
from tests.rig.debian import run

ADDRESSES = ("10.8.0.1", "10.8.0.2")


def connect(*machines: Container) -> None:
    """Connect two containers: the first gets the first of `ADDRESSES`. The cable goes with the first that stops."""
    near, far = machines
    run(["ip", "link", "add", "eth0", "netns", str(near.pid), "type", "veth", "peer", "eth0", "netns", str(far.pid)])
    for machine, own, other in zip(machines, ADDRESSES, reversed(ADDRESSES), strict=True):
        machine.sh(f"ip address add {own}/24 dev eth0 && ip link set eth0 up && ip route add default via {other}")
