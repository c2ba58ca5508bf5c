"""Tries from inside a service what somebody who has taken it over would do to the daemon, and prints JSON.

Its argument is a JSON object with what root found out, so that nothing is safe only because its name is not known: the
`pid` of the daemon, the `address` of some of its memory that can be read and written, and the paths of files: `spool`,
`transcripts` and `credential`. A result is `possible`, or the name of the error. It leaves nothing changed but what
`end it` does.
"""

import ctypes
import errno
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable

libc = ctypes.CDLL(None, use_errno=True)

SYS_PTRACE, SYS_PROCESS_VM_READV, SYS_PROCESS_VM_WRITEV, SYS_KCMP = 101, 310, 311, 312
SYS_USERFAULTFD, SYS_PIDFD_GETFD, SYS_PROCESS_MADVISE = 323, 438, 440
PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207
KCMP_FILE, MADV_COLD, UFFD_USER_MODE_ONLY = 0, 20, 1
WAIT_ALL = 0x40000000

SOCKET = "/run/flowpi/flowpi.sock"

SOUGHT = json.loads(sys.argv[1])
PID, ADDRESS = int(SOUGHT["pid"]), int(SOUGHT["address"])
INSIDE = f"/proc/{PID}/root"


class Piece(ctypes.Structure):
    _fields_ = (("at", ctypes.c_void_p), ("length", ctypes.c_size_t))


def checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def call(number: int, *arguments: int) -> int:
    return checked(libc.syscall(ctypes.c_long(number), *map(ctypes.c_ulong, arguments)))


def reads(path: str) -> Callable[[], None]:
    """Return a function that reads a byte of a file."""

    def try_it() -> None:
        with open(path, "rb") as file:
            if not file.read(1):
                raise OSError(errno.ENODATA, "it is empty")

    return try_it


def lists(path: str) -> Callable[[], None]:
    def try_it() -> None:
        if not os.listdir(path):
            raise OSError(errno.ENODATA, "it is empty")

    return try_it


def reads_memory() -> None:
    with open(f"/proc/{PID}/mem", "rb", buffering=0) as memory:
        memory.seek(ADDRESS)
        memory.read(1)


def writes_memory() -> None:
    with open(f"/proc/{PID}/mem", "r+b", buffering=0) as memory:
        memory.seek(ADDRESS)
        byte = memory.read(1)
        memory.seek(ADDRESS)
        memory.write(byte)


def moves_memory(number: int) -> Callable[[], None]:
    """Return a function that calls process_vm_readv or process_vm_writev on a byte, and leaves it as it is."""

    def try_it() -> None:
        byte = ctypes.create_string_buffer(1)
        here, there = Piece(ctypes.addressof(byte), 1), Piece(ADDRESS, 1)
        pieces = ctypes.addressof(here), 1, ctypes.addressof(there), 1, 0
        if number == SYS_PROCESS_VM_WRITEV:
            call(SYS_PROCESS_VM_READV, PID, *pieces)
        call(number, PID, *pieces)

    return try_it


def traces() -> None:
    call(SYS_PTRACE, PTRACE_SEIZE, PID, 0, 0)
    call(SYS_PTRACE, PTRACE_INTERRUPT, PID, 0, 0)
    os.waitpid(PID, WAIT_ALL)
    call(SYS_PTRACE, PTRACE_DETACH, PID, 0, 0)


def takes_a_file() -> None:
    handle = os.pidfd_open(PID)
    try:
        os.close(call(SYS_PIDFD_GETFD, handle, 2, 0))
    finally:
        os.close(handle)


def ages_memory() -> None:
    handle = os.pidfd_open(PID)
    try:
        piece = Piece(ADDRESS & ~0xFFF, 4096)
        call(SYS_PROCESS_MADVISE, handle, ctypes.addressof(piece), 1, MADV_COLD, 0)
    finally:
        os.close(handle)


def signals(number: int) -> Callable[[], None]:
    return lambda: os.kill(PID, number)


def signals_by_handle() -> None:
    handle = os.pidfd_open(PID)
    try:
        signal.pidfd_send_signal(handle, 0)
    finally:
        os.close(handle)


def asks(path: str) -> Callable[[], None]:
    """Return a function that has a command executed."""

    def try_it() -> None:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(path)
            client.sendall(b'{"command": "status", "request": 1}\n')
            for line in client.makefile("rb"):
                message = json.loads(line)
                if "error" in message:
                    raise PermissionError(errno.EACCES, message["error"]["code"])
                if message.get("response") == 1:
                    return
            raise ConnectionResetError(errno.ECONNRESET, "no answer")

    return try_it


def replaces_the_socket() -> None:
    """Try what replacing needs: another name for the socket, in the same directory."""
    os.link(SOCKET, f"{SOCKET}.other")
    os.unlink(f"{SOCKET}.other")


def compares_files() -> None:
    call(SYS_KCMP, PID, os.getpid(), KCMP_FILE, 0, 0)


def limits() -> None:
    resource.prlimit(PID, resource.RLIMIT_NOFILE, resource.prlimit(PID, resource.RLIMIT_NOFILE))


def connects() -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("/run/dbus/system_bus_socket")


ATTEMPTS: dict[str, Callable[[], None]] = {
    "read the spool": reads(SOUGHT["spool"]),
    "read the spool by the daemon's root": reads(INSIDE + SOUGHT["spool"]),
    "list the spool": lists(os.path.dirname(SOUGHT["spool"])),
    "read the transcripts": reads(SOUGHT["transcripts"]),
    "read the configuration": reads("/etc/flowpi/flowpi.yaml"),
    "read a secret of the group": reads("/etc/flowpi/house-key"),
    "read a credential in /etc": reads(f"/etc/flowpi/credentials/{os.path.basename(SOUGHT['credential'])[7:]}"),
    "read a credential": reads(SOUGHT["credential"]),
    "read a credential by the daemon's root": reads(INSIDE + SOUGHT["credential"]),
    "read the environment": reads(f"/proc/{PID}/environ"),
    "list the open files": lists(f"/proc/{PID}/fd"),
    "read the map of the memory": reads(f"/proc/{PID}/maps"),
    "read the memory by /proc": reads_memory,
    "write the memory by /proc": writes_memory,
    "read the memory by a call": moves_memory(SYS_PROCESS_VM_READV),
    "write the memory by a call": moves_memory(SYS_PROCESS_VM_WRITEV),
    "age the memory": ages_memory,
    "trace it": traces,
    "take an open file": takes_a_file,
    "compare open files": compares_files,
    "handle faults of memory": lambda: os.close(call(SYS_USERFAULTFD, UFFD_USER_MODE_ONLY)),
    "find it": signals(0),
    "find it by a handle": signals_by_handle,
    "limit it": limits,
    "command it": asks(SOCKET),
    "command it by its own root": asks(f"{INSIDE}{SOCKET}"),
    "replace its socket": replaces_the_socket,
    "ask root's services": connects,
    "end it": signals(signal.SIGTERM),
}


def outcome(attempt: Callable[[], None]) -> str:
    try:
        attempt()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return "possible"


print(json.dumps({name: outcome(attempt) for name, attempt in ATTEMPTS.items()}))
