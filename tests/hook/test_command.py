"""One run of a program: what it is given, how its end is told, and that nothing of it is left."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flowpi.hook import command
from flowpi.hook.command import OUTPUT_BYTES, Outcome, children
from tests.waiting import PATIENCE_S, until

LINE = b'{"topic": "transcript/final"}\n'


async def shell(script: str, line: bytes = LINE, timeout_s: float = PATIENCE_S) -> Outcome:
    return await command.run(["/bin/sh", "-c", script], line, {"FLOWPI_ID": "1"}, timeout_s)


BEGUN_S = 1.5
"""The limit of a program that has to begin before it is ended, on a busy machine too."""


@pytest.fixture(autouse=True)
def _short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "GRACE_S", 0.2)


@pytest.mark.parametrize("size", [100, 300_000, 3_000_000])
async def test_it_reads_the_line_and_its_end(size: int) -> None:
    line = b"x" * size + b"\n"
    outcome = await shell("wc -c", line)
    assert outcome == Outcome(0, output=b"%d\n" % (size + 1))


async def test_the_line_is_there_before_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """If this process is killed then, the program must not take a part of it, or nothing, for the message."""

    async def close(pipe: int, left: bytes) -> None:
        os.close(pipe)

    monkeypatch.setattr(command, "_write", close)
    assert await shell("wc -c", b"x" * 500_000) == Outcome(0, output=b"500000\n")


async def test_it_has_this_environment_directory_and_mask_and_no_shell() -> None:
    script = (
        "import os, json, sys; print(json.dumps([dict(os.environ), os.getcwd(), os.umask(0), os.getsid(0), sys.argv]))"
    )
    argv = [sys.executable, "-I", "-c", script, "$HOME; *"]
    outcome = await command.run(argv, LINE, {"FLOWPI_ID": "1"}, PATIENCE_S)
    environment, directory, mask, session, arguments = json.loads(outcome.output)
    assert environment == {**command.ENVIRONMENT, "FLOWPI_ID": "1"}
    assert (directory, mask, arguments[1:]) == ("/", 0o077, ["$HOME; *"])
    assert session != os.getsid(0)


async def test_it_inherits_no_open_file(tmp_path: Path) -> None:
    secret = os.open(tmp_path / "secret", os.O_WRONLY | os.O_CREAT)
    os.set_inheritable(secret, True)
    outcome = await shell("ls -l /proc/self/fd")
    os.close(secret)
    assert b"secret" not in outcome.output
    assert b"pipe" in outcome.output


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 75", 75), ("kill -9 $$", -9)])
async def test_how_it_ended(script: str, code: int) -> None:
    assert await shell(script) == Outcome(code)


async def test_one_that_cannot_be_started() -> None:
    outcome = await command.run(["/nowhere/note"], LINE, {}, PATIENCE_S)
    assert outcome == Outcome(None, "no such file or directory")


async def test_what_no_variable_can_hold_is_a_failure_of_that_text_alone() -> None:
    outcome = await command.run(["/bin/true"], LINE, {"FLOWPI_PROFILE": "a\0b"}, PATIENCE_S)
    assert outcome == Outcome(None, "embedded null byte")


async def test_one_that_closes_its_input_is_no_failure() -> None:
    assert await shell("exec <&-; echo done", b"x" * 3_000_000) == Outcome(0, output=b"done\n")


async def test_of_much_output_the_beginning_is_kept_and_it_does_not_wait() -> None:
    outcome = await shell("head -c 3000000 /dev/zero; echo >&2")
    assert (outcome.code, len(outcome.output), outcome.more) == (0, OUTPUT_BYTES, 3_000_001 - OUTPUT_BYTES)


async def test_at_its_limit_it_is_gone_with_its_children(tmp_path: Path) -> None:
    before = children()
    script = f"sleep 1000 & echo $! > {tmp_path}/pid; sleep 1000"
    outcome = await shell(script, timeout_s=BEGUN_S)
    assert (outcome.code, outcome.timed_out) == (-15, True)
    pid = int((tmp_path / "pid").read_text())
    await until(lambda: not _is_alive(pid))
    assert children() == before


async def test_one_that_ignores_sigterm_is_killed() -> None:
    outcome = await shell("trap '' TERM; while :; do sleep 0.05; done", timeout_s=BEGUN_S)
    assert (outcome.code, outcome.timed_out) == (-9, True)


async def test_what_it_can_do_at_sigterm_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "GRACE_S", PATIENCE_S)
    outcome = await shell("trap 'echo bye; exit 3' TERM; while :; do sleep 0.02; done", timeout_s=BEGUN_S)
    assert (outcome.code, outcome.timed_out, outcome.output.splitlines()[-1]) == (3, True, b"bye")


async def test_what_it_leaves_in_the_background_is_gone_when_it_ends(tmp_path: Path) -> None:
    # It holds the output open, too.
    outcome = await shell(f"sleep 1000 & echo $! > {tmp_path}/pid")
    assert (outcome.code, outcome.timed_out) == (0, False)
    pid = int((tmp_path / "pid").read_text())
    await until(lambda: not _is_alive(pid))


async def test_cancelling_leaves_nothing_of_it(tmp_path: Path) -> None:
    before = children()
    running = asyncio.create_task(shell(f"sleep 1000 & echo $! > {tmp_path}/pid; mv {tmp_path}/pid {tmp_path}/p; wait"))
    await until((tmp_path / "p").exists)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    pid = int((tmp_path / "p").read_text())
    await until(lambda: not _is_alive(pid))
    assert children() == before


ADOPTS = """
import asyncio, sys
from flowpi.hook import command
command.GRACE_S = 0.2
command.adopt_orphans()
outcome = asyncio.run(command.run(["/bin/sh", "-c", sys.argv[1]], b"", {}, float(sys.argv[2])))
print(outcome.timed_out, command.children())
"""


def test_what_left_for_a_session_of_its_own_is_gone_too(tmp_path: Path) -> None:
    # In a process of its own: it becomes the parent of all that is orphaned in it.
    away = f"echo $$ >> {tmp_path}/pids; exec sleep 1000"
    script = f"trap '' TERM; setsid sh -c '{away}' & setsid sh -c 'setsid sh -c \"{away}\" & exit 0' & sleep 1000"
    done = subprocess.run(
        [sys.executable, "-c", ADOPTS, script, str(BEGUN_S)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    assert done.stdout == "True set()\n"
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 2
    assert [pid for pid in pids if _is_alive(pid)] == []


def _is_alive(pid: int) -> bool:
    """Whether a process runs: a zombie that init has not reaped yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != b"Z"
