"""The file of the local socket: who has it, and who may connect."""

import asyncio
import contextlib
import grp
import json
import os
import pwd
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flowpi.core.errors import AlreadyRunning, CannotCreateError
from flowpi.publish import socket as local_socket
from tests.publish.test_socket import HELLO, Client, SocketHarness
from tests.publish.test_socket import client as client  # the fixtures
from tests.publish.test_socket import clients as clients
from tests.publish.test_socket import harness as harness
from tests.waiting import PATIENCE_S, until


class TestTheFile:
    async def test_its_mode(self, harness: SocketHarness) -> None:
        assert harness.path.stat().st_mode & 0o777 == 0o660

    async def test_a_second_daemon_is_refused(self, harness: SocketHarness) -> None:
        with pytest.raises(AlreadyRunning) as caught:
            await harness.another_socket().open()
        assert str(caught.value) == (
            f"another flowpi listens on '{harness.path}': stop it, or set publish.socket.path and spool.directory"
        )
        assert harness.path.exists()

    async def test_what_a_killed_daemon_left_is_replaced(self, tmp_path: Path) -> None:
        harness = SocketHarness(tmp_path / "flowpi.sock")
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(harness.path))
        await harness.socket.open()
        assert harness.path.stat().st_mode & 0o777 == 0o660
        await harness.socket.close()
        assert not harness.path.exists()

    @pytest.mark.parametrize("kind", ["file", "directory", "link"])
    async def test_what_is_no_socket_stays(self, tmp_path: Path, kind: str) -> None:
        harness = SocketHarness(tmp_path / "flowpi.sock")
        match kind:
            case "file":
                harness.path.touch()
            case "directory":
                harness.path.mkdir()
            case _:
                harness.path.symlink_to("nowhere")
        with pytest.raises(CannotCreateError) as caught:
            await harness.socket.open()
        assert str(caught.value) == f"'{harness.path}' is in the way and no socket: remove it"
        assert harness.path.lstat()

    @pytest.mark.parametrize("name", ["absent/flowpi.sock", "x" * 120])
    async def test_where_it_cannot_be_made_that_is_said(self, tmp_path: Path, name: str) -> None:
        harness = SocketHarness(tmp_path / name)
        with pytest.raises(CannotCreateError, match=r"^the socket '.*' cannot be made \(.+\): set publish\.socket"):
            await harness.socket.open()

    async def test_closing_tells_those_who_listen(self, harness: SocketHarness, client: Client) -> None:
        await client.subscribe("state")
        await harness.socket.close()
        error = {"code": "shutting_down", "message": "the daemon stops"}
        assert await client.read_all() == [{"error": error}]
        assert not harness.path.exists()

    @pytest.mark.parametrize("turns", range(5))
    async def test_a_client_that_comes_while_it_closes_does_not_stay(self, harness: SocketHarness, turns: int) -> None:
        with socket.socket(socket.AF_UNIX) as late:
            late.connect(str(harness.path))
            late.setblocking(False)
            for _ in range(turns):
                await asyncio.sleep(0)
            await harness.socket.close()
            async with asyncio.timeout(PATIENCE_S):
                with contextlib.suppress(ConnectionResetError):
                    while await asyncio.get_running_loop().sock_recv(late, 4096):
                        pass

    async def test_closing_twice_or_unopened_is_harmless(self, harness: SocketHarness) -> None:
        await harness.socket.close()
        await harness.socket.close()
        await harness.another_socket().close()


VISITOR = """
import os, socket, sys
path, uid, gid, *groups = sys.argv[1], *map(int, sys.argv[2:])
if os.geteuid() == 0:
    os.setgroups(groups)
    os.setgid(gid)
    os.setuid(uid)
with socket.socket(socket.AF_UNIX) as end:
    end.settimeout(60)
    try:
        end.connect(path)
        print(end.makefile().readline(), end="")
    except PermissionError:
        print("refused by the kernel")
"""


class TestWhoMayConnect:
    """Root tries it as a real other user. Any other user can only try that it may connect itself."""

    OTHER = 65_534
    GROUP = grp.getgrgid(1).gr_name

    @pytest.fixture
    async def visited(self) -> AsyncIterator[SocketHarness]:
        with tempfile.TemporaryDirectory() as directory:
            os.chmod(directory, 0o755)
            harness = SocketHarness(Path(directory) / "flowpi.sock")
            harness.socket = harness.another_socket(self.GROUP)
            await harness.socket.open()
            yield harness
            await until(lambda: not harness.socket.clients)
            await harness.socket.close()

    async def visit(self, harness: SocketHarness, *groups: int) -> str:
        """Connect as another user, whose own group is the first one."""
        command = [sys.executable, "-W", "ignore", "-c", VISITOR, *map(str, (harness.path, self.OTHER, *groups))]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=PATIENCE_S)
        assert done.stderr == ""
        return done.stdout

    def expected(self, as_root: str) -> str:
        return as_root if os.geteuid() == 0 else json.dumps(HELLO, separators=(",", ":")) + "\n"

    async def test_another_user_is_kept_out_by_the_mode(self, visited: SocketHarness) -> None:
        assert await self.visit(visited, self.OTHER) == self.expected("refused by the kernel\n")

    async def test_and_by_the_kernels_word_on_who_it_is(self, visited: SocketHarness) -> None:
        visited.path.chmod(0o666)
        message = "only root, the daemon's user and members of its group may connect"
        refusal = {"error": {"code": "not_permitted", "message": message}}
        answer = await self.visit(visited, self.OTHER)
        assert answer == self.expected(json.dumps(refusal, separators=(",", ":")) + "\n")

    async def test_a_member_of_the_group_may(self, visited: SocketHarness) -> None:
        if os.geteuid() == 0:
            assert visited.path.stat().st_gid == 1
        assert json.loads(await self.visit(visited, 1)) == HELLO

    async def test_a_process_with_the_group_may_though_no_account_says_so(self, visited: SocketHarness) -> None:
        """As a service with `DynamicUser=yes` and `SupplementaryGroups=flowpi` has it."""
        assert self.OTHER not in [pwd.getpwnam(name).pw_uid for name in grp.getgrgid(1).gr_mem]
        assert json.loads(await self.visit(visited, self.OTHER, 70_000, 1, 70_001)) == HELLO

    async def test_of_one_with_more_groups_than_can_be_asked_for_the_accounts_decide(
        self, visited: SocketHarness
    ) -> None:
        answer = await self.visit(visited, self.OTHER, 1, *range(70_000, 70_300))
        assert ("not_permitted" in answer) == (os.geteuid() == 0)

    async def test_the_recogniser_may_not_even_as_a_member(self, visited: SocketHarness) -> None:
        await visited.socket.close()
        visited.socket = visited.another_socket(self.GROUP, refused=pwd.getpwuid(self.OTHER).pw_name)
        await visited.socket.open()
        refusal = {"error": {"code": "not_permitted", "message": "the recogniser may not connect"}}
        assert await self.visit(visited, 1) == self.expected(json.dumps(refusal, separators=(",", ":")) + "\n")

    async def test_a_user_has_a_share_of_the_places(
        self, visited: SocketHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It does not bind root and the daemon's user."""
        monkeypatch.setattr(local_socket, "MAX_CLIENTS_A_USER", 0)
        expected = {"error": {"code": "too_many_clients", "message": "0 of your user are connected"}}
        answer = await self.visit(visited, 1)
        assert answer == self.expected(json.dumps(expected, separators=(",", ":")) + "\n")

    async def test_a_group_that_does_not_exist_is_nobody(self, tmp_path: Path) -> None:
        harness = SocketHarness(tmp_path / "flowpi.sock")
        harness.socket = harness.another_socket("flowpi-no-such-group")
        await harness.socket.open()
        client = await Client.connect(harness.path)
        client.writer.close()
        await until(lambda: not harness.socket.clients)
        await harness.socket.close()
