"""That a container which ends is no slow one."""

import os
import signal
from pathlib import Path

import pytest

from tests.rig import debian
from tests.rig.container import Container

pytestmark = pytest.mark.nspawn


def test_nobody_waits_for_a_container_that_has_ended(tmp_path: Path) -> None:
    with Container([debian.root("trixie")], tmp_path) as container:
        assert container.run("false").code == 1
        os.kill(container.pid, signal.SIGKILL)
        with pytest.raises(AssertionError, match="the container ended"):
            container.until("true", timeout_s=1)
