"""kill -9 before each call that changes the disk: the old configuration or the new one, and the next run goes on."""

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from flowpi.provision.wifi_files import WPA_SUPPLICANT
from tests.provision import deaths
from tests.provision.deaths import Life
from tests.rig.fatal import killed_at
from tests.waiting import PATIENCE_S


def lives(directory: Path, scenario: str) -> list[Life]:
    command = [sys.executable, "-W", "ignore", "-m", deaths.__name__, str(directory), scenario]
    environment = {**os.environ, **killed_at(0, directory / "card")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=2 * PATIENCE_S)
    assert done.returncode == 0, done.stderr
    return msgspec.json.decode(done.stdout, type=list[Life])


@pytest.mark.parametrize("scenario", ["first", "next", "bad"])
def test_killed_at_each_call_it_leaves_one_configuration_and_the_next_run_ends_the_same(
    tmp_path: Path, scenario: str
) -> None:
    found = lives(tmp_path, scenario)
    assert [life for life in found if life.state == "mixed" or not life.whole or not life.same] == []
    killed = [life.before.split(" of ") for life in found[:-1]]
    kinds = Counter(what for what, _ in killed)
    if scenario == "bad":
        assert {path for _, path in killed} == {
            "boot",
            "boot/flowpi-error.txt",
            "etc/flowpi/not-wiped.sha256",
            "run",
            "run/.refused",
        }
        assert kinds["sync"] >= 2
        return
    assert {"open", "write", "sync", "rename", "unlink"} <= set(kinds)
    network = f"etc/{WPA_SUPPLICANT.path}"
    assert {"boot/flowpi.yaml", "etc/flowpi/flowpi.yaml", network} <= {
        re.sub(r"/\.([^/]*)\.new$", r"/\1", path) for _, path in killed
    }
    # First the old one, then the new one, and never back.
    states = [life.state for life in found]
    assert states == sorted(states, key=["old", "new"].index)
    assert {"old", "new"} == set(states)
