"""The hook as a process: killed at random points while its daemon comes and goes, told to stop, started twice."""

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from flowpi.core.errors import AlreadyRunning
from flowpi.hook.state import HookState
from tests.hook.scripted_daemon import ScriptedDaemon, payload
from tests.waiting import PATIENCE_S, until

NOTE = """\
#!/bin/sh
read -r line
printf '%s.%s %s\\n' "$FLOWPI_ID" "$FLOWPI_PART" "$line" >> "$1"
"""


class Process:
    """`flowpi hook` with a script that appends each text to a file, as this user."""

    def __init__(self, directory: Path) -> None:
        self.notes = directory / "notes"
        self.state = directory / "state"
        self.daemon = ScriptedDaemon(directory / "socket")
        self.processes: list[asyncio.subprocess.Process] = []
        script = directory / "note"
        script.write_text(NOTE)
        script.chmod(0o755)
        self.settings = {
            "publish.socket.path": str(self.daemon.path),
            "publish.command.run": json.dumps([str(script), str(self.notes)]),
        }

    async def start(self) -> asyncio.subprocess.Process:
        options = [word for key, value in self.settings.items() for word in ("-o", f"{key}={value}")]
        environment = {**os.environ, "STATE_DIRECTORY": str(self.state)}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "flowpi", "hook", *options, env=environment, stderr=asyncio.subprocess.DEVNULL
        )
        self.processes.append(process)
        return process

    @property
    def noted(self) -> list[tuple[int, str]]:
        """Number and text of each run, in order."""
        found = []
        written = self.notes.read_text() if self.notes.exists() else ""
        for line in written.rpartition("\n")[0].splitlines():  # the last line may be in the middle of being written
            name, _, message = line.partition(" ")
            said = json.loads(message)["payload"]
            assert name == f"{said['id']}.{said['part']}"
            found.append((int(said["id"]), said["text"]))
        return found

    def has_noted(self, number: int) -> bool:
        """Whether all texts up to this one were given to the script."""
        return {one for one, _ in self.noted} >= set(range(1, number + 1))

    async def started(self) -> asyncio.subprocess.Process:
        process = await self.start()
        async with asyncio.timeout(PATIENCE_S):
            await until(lambda: self.daemon.subscribed)
        return process


@pytest.fixture
async def hook(tmp_path: Path) -> AsyncIterator[Process]:
    one = Process(tmp_path)
    yield one
    for process in one.processes:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@pytest.mark.parametrize("seed", [1, 2])
async def test_killed_at_random_points_it_loses_nothing_and_repeats_only_the_text_of_that_run(
    hook: Process, seed: int
) -> None:
    chance = random.Random(seed)
    await hook.daemon.start()
    process = await hook.started()
    number, kills = 0, 0
    while number < 60:
        for _ in range(chance.randrange(1, 8)):
            number += 1
            hook.daemon.say(number)
        if chance.random() < 0.3:
            await hook.daemon.crash()
            await asyncio.sleep(0)
            await hook.daemon.start()
        # The point of the kill is somewhere in the work for these texts: what was noted so far decides when.
        enough = max(0, number - chance.randrange(0, 8))
        await until(partial(hook.has_noted, enough))
        if chance.random() < 0.5:
            process.kill()
            await process.wait()
            kills += 1
            hook.daemon.drop()
            process = await hook.started()
    await until(partial(hook.has_noted, number))
    process.terminate()
    assert await process.wait() == 0
    await hook.daemon.crash()
    noted = hook.noted
    assert all(text == payload(one)["text"] for one, text in noted)
    assert sorted(dict(noted)) == list(dict(noted)) == list(range(1, number + 1))
    assert len(noted) <= number + kills
    assert kills > 3


async def test_it_stops_at_once_and_its_command_with_it(hook: Process, tmp_path: Path) -> None:
    script = tmp_path / "slow"
    script.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nmv {tmp_path}/pid {tmp_path}/running\nexec sleep 1000\n")
    script.chmod(0o755)
    hook.settings["publish.command.run"] = f"[{script}]"
    await hook.daemon.start()
    process = await hook.started()
    hook.daemon.say(1)
    await until((tmp_path / "running").exists)
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "running").read_text()), 0)
    assert json.loads((hook.state / "command.position").read_text())["id"] == "0" * 26
    await hook.daemon.crash()


async def test_a_second_one_ends_with_73(hook: Process) -> None:
    HookState(hook.state).close()
    first = HookState(hook.state)
    process = await hook.start()
    assert await process.wait() == AlreadyRunning.exit_code
    first.close()


async def test_without_a_command_it_ends_with_64(hook: Process) -> None:
    hook.settings["publish.command.run"] = "null"
    process = await hook.start()
    assert await process.wait() == 64
