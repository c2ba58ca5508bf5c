"""The local socket: newline-delimited JSON for the programs of this machine (docs/api.md, "The socket").

A client is a subscriber like any other. One that does not read has its messages queued and is then dropped with a
reason; one that sends rubbish gets an error with a reason. However many there are and whatever they send, they delay
neither the microphone nor each other by more than their share: see `socket_client.py`.
"""

import asyncio
import contextlib
import errno
import grp
import logging
import os
import pwd
import socket
import struct
from array import array
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import flowpi
from flowpi.core.errors import AlreadyRunning, CannotCreateError
from flowpi.host.folder_watch import FolderWatch
from flowpi.host.log_limit import LogLimit
from flowpi.host.unix import BACKLOG, listen_unix
from flowpi.publish.history import History
from flowpi.publish.hub import Hub
from flowpi.publish.messages import Problem
from flowpi.publish.shares import ClientTurns, QueueBudget
from flowpi.publish.socket_client import ClientCommand, Shared, SocketClient

log = logging.getLogger(__name__)
log.addFilter(LogLimit())

PROTOCOL = 1
MAX_CLIENTS = 1024
"""A quarter of the open files that the daemon asks for: the disk and the backends need some too."""

MAX_CLIENTS_A_USER = 256
"""The share of one user, so that no program shuts out those of others. It does not bind root and the daemon's user."""

CLIENTS_A_TURN = 4

ACCEPT_TURNS = 4
"""How many turns of the loop asyncio needs from a client at the door to one that is served."""

RECOGNISER = "flowpi-asr"
"""The user of flowpi-asr.service. The recogniser reads what strangers send, so it must not give the daemon commands."""

SO_PEERGROUPS = 59
"""The number on ARM, x86 and RISC-V; Python has no name for it."""

MAKE_AGAIN_S = 2.0
"""How often to try to make the socket again after its file or its folder was deleted."""


class LocalSocket:
    """The listening socket and its clients. Made on the event loop."""

    def __init__(
        self,
        hub: Hub,
        command: ClientCommand,
        *,
        path: Path,
        group: str | None,
        device_id: str,
        refused: str = RECOGNISER,
        history: History | None = None,
    ) -> None:
        """
        Args:
            command: called for each command of a client, with its user id.
            group: the group whose members may connect, besides the daemon's user and root. If it is None or does not
                exist, nobody else may.
            refused: the user who may not connect, also if the group has it as a member.
            history: the texts of before, for clients that ask for them.
        """
        self.path = path
        self._group = _group_id(group)
        self._refused = _user_id(refused)
        hello = {"flowpi": flowpi.__version__, "protocol": PROTOCOL, "device_id": device_id}
        self._shared = Shared(hub, command, hello, ClientTurns(), QueueBudget(), history, set())
        self._users: Counter[int] = Counter()
        self._server: asyncio.Server | None = None
        self._watch: FolderWatch | None = None
        self._making: asyncio.Task[None] | None = None

    @property
    def clients(self) -> int:
        """The number of clients that are connected and not dropped."""
        return sum(client.is_connected for client in self._shared.clients)

    async def open(self) -> None:
        """Make the socket and accept clients.

        Raises:
            AlreadyRunning: another process answers on it.
            CannotCreateError: the socket cannot be made.
        """
        try:
            await self._listen()
        except FileExistsError:
            raise CannotCreateError(f"{str(self.path)!r} is in the way and no socket", "remove it") from None
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise AlreadyRunning(
                    f"another flowpi listens on {str(self.path)!r}",
                    "stop it, or set publish.socket.path and spool.directory",
                ) from None
            raise CannotCreateError(
                f"the socket {str(self.path)!r} cannot be made ({error.strerror or error})", "set publish.socket.path"
            ) from error

    async def close(self) -> None:
        """Send all clients the reason, stop accepting, and remove the socket. Does not wait for the clients."""
        if self._making is not None:
            self._making.cancel()
        if self._server is None:
            return
        self._watch_no_more()  # or it would be made again
        with contextlib.suppress(OSError):
            self.path.unlink()
        # Nobody can come any more. Those whom the loop is just accepting would never be closed by it without a server.
        for _ in range(ACCEPT_TURNS):
            await asyncio.sleep(0)
        self._stop_listening()
        for client in list(self._shared.clients):
            client.drop("shutting_down", "the daemon stops")

    async def _listen(self) -> None:
        """Raises OSError."""
        listener = listen_unix(self.path, self._group)
        # asyncio accepts up to `backlog` clients in one turn of the loop: a crowd must not delay the microphone. The
        # kernel may queue more, so `listen` is called again with its own number.
        self._server = await asyncio.get_running_loop().create_unix_server(
            lambda: SocketClient(self._shared, self._admit, self._left), sock=listener, backlog=CLIENTS_A_TURN
        )
        listener.listen(BACKLOG)
        with contextlib.suppress(OSError):  # no inotify: then a deleted socket stays away until the next start
            self._watch = FolderWatch(self.path.parent, self._look_for_it)

    def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
        self._watch_no_more()

    def _watch_no_more(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    # Made again.

    def _look_for_it(self) -> None:
        """Something in the folder is gone: make the socket again if it was that."""
        if self._making is None and not self.path.is_socket():
            log.warning("the socket %s was deleted, and is made again", self.path)
            self._making = asyncio.create_task(self._make_again(), name="socket")

    async def _make_again(self) -> None:
        """Clients that are connected stay so."""
        self._stop_listening()
        failed = False
        while True:
            try:
                self.path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
                await self._listen()
                break
            except OSError as error:
                log.log(
                    logging.DEBUG if failed else logging.ERROR, "the socket %s cannot be made: %s", self.path, error
                )
                failed = True
                await asyncio.sleep(MAKE_AGAIN_S)
        self._making = None
        log.info("the socket %s is there again", self.path)
        self._look_for_it()  # it may have been deleted before it was watched

    # Who may connect.

    def _admit(self, peer: socket.socket) -> int | Problem:
        """Return the user of a client that may stay, and count it; or why it may not."""
        _, uid, gid = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        privileged = uid in (0, os.geteuid())
        if uid == self._refused and not privileged:
            log.warning("the recogniser's user was refused on the socket")
            return Problem("not_permitted", "the recogniser may not connect")
        if not privileged and not self._is_member(peer, uid, gid):
            log.warning("a user outside the group was refused on the socket")
            return Problem("not_permitted", "only root, the daemon's user and members of its group may connect")
        if len(self._shared.clients) >= MAX_CLIENTS:  # with those that were dropped and may read why
            log.warning("a client was refused: %d are connected", MAX_CLIENTS)
            return Problem("too_many_clients", f"{MAX_CLIENTS} are connected")
        if not privileged and self._users[uid] >= MAX_CLIENTS_A_USER:
            log.warning("a client of user %d was refused: %d are connected", uid, MAX_CLIENTS_A_USER)
            return Problem("too_many_clients", f"{MAX_CLIENTS_A_USER} of your user are connected")
        self._users[uid] += 1
        return int(uid)

    def _left(self, uid: int) -> None:
        """A client that was admitted is gone."""
        self._users[uid] -= 1

    def _is_member(self, peer: socket.socket, uid: int, gid: int) -> bool:
        """Return whether a client is in the group. The file mode alone is not enough: the kernel says who connected."""
        if self._group is None:
            return False
        if gid == self._group or self._group in _groups_of(peer):
            return True
        try:
            return self._group in os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
        except KeyError:
            return False


def _groups_of(peer: socket.socket) -> Sequence[int]:
    """Return the supplementary groups of the process at the other end; none if the kernel does not say.

    The accounts do not know those of a service, such as `SupplementaryGroups=` of one with `DynamicUser=yes`.
    """
    try:
        return array("I", peer.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, 1024))
    except OSError:  # before Linux 4.13, or it has more than 256 groups
        return ()


def _user_id(user: str) -> int | None:
    """Return the number of a user, or None if there is no such user."""
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return None


def _group_id(group: str | None) -> int | None:
    """Return the number of a group, or None if there is no such group."""
    try:
        return None if group is None else grp.getgrnam(group).gr_gid
    except KeyError:
        return None
