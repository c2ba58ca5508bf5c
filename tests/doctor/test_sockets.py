"""The daemon's socket, with a real daemon behind it, or something else."""

import grp
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowpi.config.schema import Config, PublishSettings, SocketSettings
from flowpi.doctor import sockets
from tests.rig.appliance import Appliance
from tests.rig.disks import alone
from tests.rig.microphone import Microphone


def config_of(path: Path, group: str | None = None) -> Config:
    return Config(publish=PublishSettings(socket=SocketSettings(path=str(path), group=group)))


@pytest.fixture
def appliance(tmp_path: Path, microphone: Microphone) -> Iterator[Appliance]:
    with Appliance(tmp_path, "audio.device=live") as appliance:
        appliance.start()
        yield appliance


def test_a_daemon_that_runs(appliance: Appliance, monkeypatch: pytest.MonkeyPatch) -> None:
    (finding,) = sockets.examine(config_of(appliance.socket))
    assert (finding.level, finding.code) == ("ok", "works")
    monkeypatch.setattr(sockets, "__version__", "99.0")
    (finding,) = sockets.examine(config_of(appliance.socket))
    assert (finding.level, finding.code) == ("warning", "outdated")
    assert finding.hint == "sudo systemctl restart flowpi flowpi-asr"


def test_who_may_use_it(appliance: Appliance) -> None:
    appliance.socket.chmod(0o666)
    (finding,) = sockets.examine(config_of(appliance.socket))
    assert (finding.level, finding.code) == ("warning", "open_to_all")
    appliance.socket.chmod(0o660)
    other = next(group.gr_name for group in grp.getgrall() if group.gr_gid != appliance.socket.stat().st_gid)
    (finding,) = sockets.examine(config_of(appliance.socket, other))
    assert (finding.level, finding.code) == ("warning", "wrong_group")
    assert f"usermod -aG {other} " in finding.hint
    (finding,) = sockets.examine(config_of(appliance.socket, "no-such-group"))
    assert (finding.level, finding.code) == ("warning", "wrong_group")
    assert finding.hint.startswith("sudo groupadd --system no-such-group")
    ours = grp.getgrgid(appliance.socket.stat().st_gid).gr_name
    (finding,) = sockets.examine(config_of(appliance.socket, ours))
    assert finding.code == "works"


def test_nobody_there(tmp_path: Path) -> None:
    (finding,) = sockets.examine(config_of(tmp_path / "flowpi.sock"))
    assert (finding.level, finding.code) == ("failure", "no_daemon")
    assert finding.hint == "start it with `flowpi run`"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "flowpi.sock"))
        (finding,) = sockets.examine(config_of(tmp_path / "flowpi.sock"))
        assert finding.code == "no_daemon"


def test_not_for_this_user(tmp_path: Path) -> None:
    finding = alone("tests.doctor.disks", tmp_path)["a private socket"]
    assert (finding["level"], finding["code"]) == ("failure", "forbidden")
    assert finding["hint"] == "`sudo usermod -aG flowpi $USER`, then log out and in again"
