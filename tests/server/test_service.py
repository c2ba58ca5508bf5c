"""`flowpi serve` as a process: how many sessions it has places for."""

import contextlib
import json
import re
from pathlib import Path

import pytest
import websockets

from flowpi.server.connections import default_sessions
from tests.rig.appliance import Process
from tests.server.calling import DASH, quiet

ON_ONE_CPU = """
import os, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from flowpi.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(("cpus", "sessions"), [(1, 30), (2, 60), (4, 120), (8, 240), (64, 240)])
def test_places_for_a_number_of_cpus(cpus: int, sessions: int) -> None:
    assert default_sessions(cpus) == sessions


@pytest.mark.parametrize(
    ("options", "sessions"), [([], 30), (["-o", "server.max_sessions=auto"], 30), (["-o", "server.max_sessions=2"], 2)]
)
async def test_one_more_than_there_are_places_for(tmp_path: Path, options: list[str], sessions: int) -> None:
    serve = ["serve", "--listen", "127.0.0.1:0", "-o", "server.engine=echo", *options]
    process = Process(["-c", ON_ONE_CPU, *serve], tmp_path, {})
    with contextlib.closing(process):
        process.notice("READY=1")
        serving = re.search(r"serving echo on (ws://\S+), up to (\d+) sessions", process.log.read_text())
        assert serving
        url, places = serving.groups()
        assert places == str(sessions)

        def connect() -> websockets.connect:
            return websockets.connect(f"{url}{DASH}/ws", logger=quiet, open_timeout=None)

        async with contextlib.AsyncExitStack() as stack:
            for _ in range(sessions):
                await stack.enter_async_context(connect())
            with pytest.raises(websockets.InvalidStatus) as caught:
                await connect()
            assert caught.value.response.status_code == 503
            assert json.loads(caught.value.response.body or b"") == {"detail": f"all {sessions} sessions are in use"}
