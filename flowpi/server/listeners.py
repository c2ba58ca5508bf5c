"""Listening sockets, made from the addresses that the operator configures: HOST:PORT and unix:PATH."""

import contextlib
import errno
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from flowpi.config.addresses import is_loopback
from flowpi.core.errors import AlreadyRunning, CannotCreateError, FlowpiError, NoPermissionError, UsageError
from flowpi.host.unix import listen_unix, remove_stale


@dataclass(frozen=True)
class UnixAddress:
    path: Path


@dataclass(frozen=True)
class TcpAddress:
    host: str
    port: int
    """The port; 0: any free port."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches the address."""
        return is_loopback(self.host)


Address = UnixAddress | TcpAddress


def parse_address(text: str) -> Address:
    """Parse HOST:PORT, [IPv6]:PORT or unix:PATH.

    Raises:
        UsageError: `text` is none of these.
    """
    kind, _, path = text.partition(":")
    if kind == "unix":
        if not path:
            raise UsageError(f"listen address {text!r} has no path", "write unix:/run/flowpi/asr.sock")
        return UnixAddress(Path(path))
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdecimal()) or int(port) > 65_535:
        raise UsageError(f"listen address {text!r} cannot be read", "write HOST:PORT or unix:PATH")
    return TcpAddress(host.removeprefix("[").removesuffix("]"), int(port))


class Listener:
    """A listening socket.

    Attributes:
        socket: the bound and listening socket.
        secure: whether the socket is to speak TLS; never true for a Unix socket.
        url: the base URL for clients, without the path of an endpoint: ws://HOST:PORT, wss://HOST:PORT or
            ws+unix://PATH.

    Raises:
        AlreadyRunning: another server answers on that Unix socket.
        CannotCreateError: the socket cannot be created at the address.
        NoPermissionError: this user may not create the socket.
    """

    def __init__(self, address: Address, *, secure: bool = False) -> None:
        match address:
            case UnixAddress(path):
                self.socket = _open_unix(path)
                self.secure = False
                self.url = f"ws+unix://{path.absolute()}"
                self._file: tuple[Path, int] | None = path.absolute(), path.stat().st_ino
            case TcpAddress(host):
                self.socket = _open_tcp(address)
                port = self.socket.getsockname()[1]
                self.secure = secure
                scheme = "wss" if secure else "ws"
                self.url = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
                self._file = None
            case _:
                assert_never(address)

    def close(self) -> None:
        """Stop listening and delete the file of a Unix socket, unless another server has replaced the file."""
        self.socket.close()
        if self._file is None:
            return
        path, inode = self._file
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_ino == inode:
                path.unlink()


def _open_tcp(address: TcpAddress) -> socket.socket:
    try:
        family, kind, protocol, _, name = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        hint = ""
        if error.errno == errno.EAFNOSUPPORT:
            hint = "flowpi-asr.service has no network as it comes: docs/backends.md has the lines that give it one"
        raise CannotCreateError(f"cannot listen on {address.host} ({error.strerror})", hint) from error
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(name)
        listener.listen()
    except OSError as error:
        listener.close()
        raise _refused(f"{address.host}:{address.port}", error, "`ss -ltnp` shows who has it") from error
    return listener


def link_unix(path: Path, target: Path) -> None:
    """Make `path` a link to a socket, in place of an earlier link or the socket of a server that has ended.

    Raises:
        AlreadyRunning: a server answers on `path`.
        CannotCreateError, NoPermissionError: the link cannot be made.
    """
    with _explaining(path):
        if path.is_symlink():
            path.unlink()
        else:
            remove_stale(path)
        path.symlink_to(target)


def _open_unix(path: Path) -> socket.socket:
    with _explaining(path):
        return listen_unix(path)


@contextlib.contextmanager
def _explaining(path: Path) -> Iterator[None]:
    """Raise the error of flowpi for one of the system about a Unix socket."""
    try:
        yield
    except FileExistsError:
        raise CannotCreateError(f"{path} exists and is no socket", "remove it, or listen elsewhere") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise AlreadyRunning(f"another server listens on unix:{path}", "stop it, or listen elsewhere") from None
        raise _refused(f"unix:{path}", error, f"create {path.parent} first, or choose another path") from error


def _refused(where: str, error: OSError, hint: str) -> FlowpiError:
    if error.errno in (errno.EACCES, errno.EPERM):
        return NoPermissionError(f"no permission to listen on {where}", "choose another address, or another user")
    return CannotCreateError(f"cannot listen on {where} ({error.strerror or error})", hint)
