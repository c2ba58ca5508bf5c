import socket
from pathlib import Path

from tests.ports import SHARE, free_port


def test_a_port_is_no_connections_and_nobody_elses(unused_tcp_port: int) -> None:
    first_of_connections = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports = [unused_tcp_port, *(free_port() for _ in range(100))]
    assert max(ports) < first_of_connections
    assert len(set(ports)) == len(ports)


def test_one_that_is_taken_is_passed_over() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", taken := free_port()))
        assert taken not in {free_port() for _ in range(SHARE)}  # once round
