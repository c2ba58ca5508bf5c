"""The hook as a process: killed at random points while its daemon comes and goes, told to stop, started twice."""

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable
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


class AgeingDaemon:
    """`ageing_daemon.py` as a process. A command that a kill interrupts is given again to the next one."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        pipe = asyncio.subprocess.PIPE
        argv = [sys.executable, "-m", "tests.hook.ageing_daemon", str(self._directory)]
        self._process = await asyncio.create_subprocess_exec(*argv, stdin=pipe, stdout=pipe)

    async def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    async def do(self, command: str) -> bool:
        """Return whether it is done; False if the daemon was killed."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(command.encode() + b"\n")
        async with asyncio.timeout(PATIENCE_S):
            return await self._process.stdout.readline() == b"done\n"

    def texts(self) -> set[int]:
        """The numbers of the texts that the transcripts have."""
        files = (self._directory / "transcripts").glob("*.jsonl")
        return {int(json.loads(line)["id"]) for file in files for line in file.read_text().splitlines()}


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


@pytest.mark.promise("P42")
@pytest.mark.parametrize("seed", [1, 2])
async def test_with_hook_and_daemon_killed_no_text_is_deleted_before_the_hook_had_it(
    hook: Process, tmp_path: Path, seed: int, times: Callable[[int, int], int], measured: Callable[..., None]
) -> None:
    """Days pass, and each text is due to be deleted a day later. Hook and daemon are killed at random."""
    chance = random.Random(seed)
    daemon = AgeingDaemon(tmp_path)
    await daemon.start()
    assert await daemon.do("expire 0")
    process = await hook.start()
    await until((hook.state / "command.position").exists)
    day, number, kills, held = 0, 0, 0, 0

    async def do(command: str) -> None:
        """Do it, however often the daemon is killed meanwhile."""
        nonlocal kills
        killing = asyncio.create_task(daemon.kill()) if chance.random() < 0.15 else None
        done = await daemon.do(command)
        if killing is not None:
            await killing
            kills += 1
            await daemon.start()
        if not done:
            assert await daemon.do(command)

    for _ in range(times(12, 100)):
        for _ in range(chance.randrange(1, 6)):
            number += 1
            await do(f"say {number} {day}")
        if chance.random() < 0.4:
            process.kill()
            await process.wait()
            kills += 1
        day += chance.randrange(4)
        await do(f"expire {day}")
        gone = set(range(1, number + 1)) - daemon.texts()
        assert gone <= {one for one, _ in hook.noted}
        held += day > 1 and process.returncode is not None
        if process.returncode is not None:
            process = await hook.start()
        await until(partial(hook.has_noted, max(0, number - chance.randrange(12))))
    await until(partial(hook.has_noted, number))
    while daemon.texts():  # what it has is not held for longer
        assert await daemon.do(f"expire {day + 3}")
    await daemon.kill()
    noted = hook.noted
    assert sorted(dict(noted)) == list(range(1, number + 1))
    assert len(noted) <= number + kills
    assert min(kills, held) >= 3
    measured(texts=number, kills=kills, deleted_too_early=0, repeated=len(noted) - number)


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
