"""Tries from inside a service what a service of an appliance must not do, and prints the results as JSON.

A result is `possible`, or the name of the error. The arguments name what to try; without any it tries everything. It
leaves nothing changed. It needs only Python, and for some attempts what `test_sandbox.prepare` makes.
"""

import contextlib
import ctypes
import errno
import glob
import json
import mmap
import os
import pwd
import resource
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

libc = ctypes.CDLL(None, use_errno=True)

CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWNET = 0x10000000, 0x00020000, 0x40000000
SYS_SYSLOG, SYS_PERSONALITY, SYS_PTRACE, SYS_INIT_MODULE, SYS_BPF = 103, 135, 101, 175, 321
SYS_REQUEST_KEY, SYS_PROCESS_VM_READV, SYS_PROCESS_VM_WRITEV, SYS_KCMP = 249, 310, 311, 312
SYS_USERFAULTFD, SYS_PIDFD_GETFD, UFFD_USER_MODE_ONLY = 323, 438, 1
ADDR_NO_RANDOMIZE, PTRACE_TRACEME = 0x0040000, 0
GETPID_OF_32_BIT = b"\xb8\x14\x00\x00\x00\xcd\x80\xc3"
"""mov eax, 20; int 0x80; ret"""

PORT = 9
SHARED_MEMORY_KEY = 0xF10B1


def checked(result: int) -> None:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def call(number: int, *arguments: object) -> None:
    checked(libc.syscall(number, *arguments))


def writes(directory: str) -> Callable[[], None]:
    def try_it() -> None:
        with tempfile.NamedTemporaryFile(dir=directory):
            pass

    return try_it


def opens(path: str, flags: int = os.O_RDWR) -> Callable[[], None]:
    return lambda: os.close(os.open(path, flags | os.O_NONBLOCK))


def reads(path: str) -> Callable[[], None]:
    def try_it() -> None:
        if os.path.isdir(path):
            if not os.listdir(path):
                raise FileNotFoundError(errno.ENOENT, "it is empty")
        else:
            opens(path, os.O_RDONLY)()

    return try_it


def talks(family: int, kind: int = socket.SOCK_DGRAM) -> Callable[[], None]:
    return lambda: socket.socket(family, kind).close()


@contextlib.contextmanager
def own_directory() -> Iterator[str]:
    """Yield a new directory in a place where the service may write. Raises PermissionError if there is none."""
    for base in (os.environ.get("STATE_DIRECTORY"), os.environ.get("RUNTIME_DIRECTORY"), "/tmp"):
        if base and os.access(base, os.W_OK):
            with tempfile.TemporaryDirectory(dir=base) as directory:
                yield directory
                return
    raise PermissionError(errno.EACCES, "there is none")


def starts_its_own_program() -> None:
    with own_directory() as directory:
        program = shutil.copy("/usr/bin/true", directory)
        subprocess.run([program], check=True)


def starts(*command: str) -> Callable[[], None]:
    def try_it() -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    return try_it


def loads_its_own_library() -> None:
    """Load a library from a directory of its own. A copy, because one that is loaded already is not loaded again."""
    (library,) = glob.glob("/usr/lib/*-linux-gnu/libm.so.6")
    with own_directory() as directory:
        ctypes.CDLL(shutil.copy(library, directory))


def starts_from_memory() -> None:
    handle = os.memfd_create("program")
    with open("/usr/bin/true", "rb") as file:
        os.write(handle, file.read())
    child = os.fork()
    if child == 0:
        try:
            os.execve(f"/proc/self/fd/{handle}", ["true"], {})
        except OSError as error:
            os._exit(error.errno or 1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        raise OSError(code, "it did not start")


def sees_others() -> None:
    """See processes of other users."""
    mine = os.getuid() or -1  # for root any process counts, as all belong to it
    pids = [path for path in glob.glob("/proc/[0-9]*") if int(path[6:]) != os.getpid()]
    if not any(os.stat(path).st_uid != mine for path in pids if os.path.exists(path)):
        raise FileNotFoundError(errno.ENOENT, "none to be seen")


def makes_root_program() -> None:
    with own_directory() as directory:
        path = shutil.copy("/usr/bin/true", directory)
        os.chmod(path, 0o4755)
        if not os.stat(path).st_mode & stat.S_ISUID:
            raise PermissionError(errno.EPERM, "the bit is not set")


def makes_readable_file() -> None:
    with own_directory() as directory:
        path = f"{directory}/file"
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o666))
        if not os.stat(path).st_mode & 0o077:
            raise PermissionError(errno.EPERM, "they cannot")


def uses_a_program_with_more_rights() -> None:
    """Start a set-user-ID program, which shows each user what is in a file of root."""
    who = "nobody" if os.getuid() == 0 else None
    command = ["/usr/bin/chage", "--list", who or pwd.getpwuid(os.getuid()).pw_name]
    subprocess.run(command, check=True, user=who, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def makes_device() -> None:
    with own_directory() as directory:
        os.mknod(f"{directory}/null", 0o600 | stat.S_IFCHR, os.makedev(1, 3))


def in_a_child(work: Callable[[], None]) -> Callable[[], None]:
    """Return a function that does the work in a child, because it would change or end this process."""

    def try_it() -> None:
        child = os.fork()
        if child == 0:
            try:
                work()
            except OSError as error:
                os._exit(error.errno or 1)
            except BaseException:
                os._exit(255)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code:
            raise OSError(abs(code), "in the child")

    return try_it


def mounts() -> None:
    with own_directory() as directory:
        checked(libc.mount(b"none", directory.encode(), b"tmpfs", 0, None))
        checked(libc.umount(directory.encode()))


def mounts_for_all() -> None:
    with own_directory() as directory:
        checked(libc.mount(b"none", directory.encode(), b"tmpfs", 0, None))
        try:
            with open("/proc/1/mountinfo") as file:
                if directory not in file.read():
                    raise PermissionError(errno.EPERM, "nobody else sees it")
        finally:
            checked(libc.umount(directory.encode()))


def calls_as_another_architecture() -> None:
    memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(GETPID_OF_32_BIT)
    code = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    if ctypes.CFUNCTYPE(ctypes.c_int)(code)() != os.getpid():
        raise PermissionError(errno.EPERM, "it is refused")


def uses_shared_memory() -> None:
    checked(libc.shmget(SHARED_MEMORY_KEY, 0, 0))


def many_processes() -> None:
    children = []
    try:
        for _ in range(100):
            child = os.fork()
            if child == 0:
                signal.pause()
            children.append(child)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def raises_limit(limit: int, value: int) -> Callable[[], None]:
    return in_a_child(lambda: resource.setrlimit(limit, (value, value)))


def writable_and_executable() -> None:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()


def becomes_executable() -> None:
    memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    checked(libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(4096), 5))


class Piece(ctypes.Structure):
    _fields_ = (("at", ctypes.c_void_p), ("length", ctypes.c_size_t))


def moves_memory(number: int) -> None:
    """Call process_vm_readv or process_vm_writev for this process."""
    byte = ctypes.create_string_buffer(1)
    piece = Piece(ctypes.addressof(byte), 1)
    one = ctypes.c_ulong(1)
    call(number, os.getpid(), ctypes.byref(piece), one, ctypes.byref(piece), one, ctypes.c_ulong(0))


def keeps_a_key() -> None:
    """Look for a key; that there is none of the name is no refusal."""
    try:
        call(SYS_REQUEST_KEY, b"user", b"flowpi-probe", None, 0)
    except OSError as error:
        if error.errno not in (errno.ENOKEY, errno.ENOENT):
            raise


def asks_roots_services() -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("/run/dbus/system_bus_socket")


def real_time() -> None:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


def same_value(path: str) -> Callable[[], None]:
    """Return a function that writes the present content of a file to it."""

    def try_it() -> None:
        with open(path) as file:
            content = file.read()
        with open(path, "w") as file:
            file.write(content)

    return try_it


def sets_clock() -> None:
    time.clock_settime(time.CLOCK_REALTIME, time.time())


def reaches_a_program() -> None:
    with socket.create_connection(("127.0.0.1", PORT), timeout=3):
        pass


def changes_control_group() -> None:
    """Change a control group in systemd's own tree, wherever that is mounted."""
    with open("/proc/self/mounts") as file:
        tree = next(line.split()[1] for line in file if " cgroup2 " in line)
    group = f"{tree}/system.slice"
    os.mkdir(f"{group}/probe")
    os.rmdir(f"{group}/probe")


PROBES: dict[str, Callable[[], None]] = {
    # ProtectSystem, ProtectHome, PrivateTmp, ReadWritePaths, StateDirectory
    "write /etc": writes("/etc"),
    "write /etc/flowpi": writes("/etc/flowpi"),
    "write /etc/wpa_supplicant": writes("/etc/wpa_supplicant"),
    "write /etc/NetworkManager": writes("/etc/NetworkManager/system-connections"),
    "write /usr": writes("/usr/lib"),
    "write /opt/flowpi": writes("/opt/flowpi"),
    "write /var/lib": writes("/var/lib"),
    "write /var/log": writes("/var/log"),
    "write /home": writes("/home"),
    "write to the libraries": lambda: writes(*glob.glob("/usr/lib/*-linux-gnu"))(),
    "write /run": writes("/run"),
    "write /run/lock": writes("/run/lock"),
    "write /boot": writes("/boot"),
    "write /dev/shm": writes("/dev/shm"),
    "write /tmp": writes("/tmp"),
    "write /run/flowpi": writes("/run/flowpi"),
    "write /run/flowpi-asr": writes("/run/flowpi-asr"),
    "write /run/flowpi-asr-config": writes("/run/flowpi-asr-config"),
    "write /run/flowpi-provision": writes("/run/flowpi-provision"),
    "write /run/flowpi-hook-config": writes("/run/flowpi-hook-config"),
    "write /var/lib/flowpi": writes("/var/lib/flowpi"),
    "write /var/lib/flowpi-hook": writes("/var/lib/flowpi-hook"),
    "see a file in /tmp": reads("/tmp/of-another"),
    "see a file in /home": reads("/home/person"),
    "see the boot partition": reads("/boot/firmware"),
    "read /etc/shadow": reads("/etc/shadow"),
    "read the journal": lambda: reads(glob.glob("/var/log/journal/*/system.journal")[0])(),
    # PrivateDevices, DevicePolicy
    "open /dev/kmsg": opens("/dev/kmsg", os.O_RDONLY),
    "open /dev/mem": opens("/dev/mem", os.O_RDONLY),
    "open the disk": opens("/dev/vda", os.O_RDONLY),
    "open /dev/uinput": opens("/dev/uinput"),
    "open /dev/input": opens("/dev/input/event0", os.O_RDONLY),
    "open /dev/rtc": opens("/dev/rtc0", os.O_RDONLY),
    "open /dev/gpiochip0": opens("/dev/gpiochip0"),
    "open the sound card": opens("/dev/snd/controlC0"),
    "open /dev/null": opens("/dev/null"),
    "make a device": makes_device,
    # ProtectProc, ProcSubset, ProtectKernelModules
    "see processes of others": sees_others,
    "read what the kernel tells all": reads("/proc/cpuinfo"),
    "see the modules of the kernel": reads("/usr/lib/modules"),
    # NoExecPaths
    "start a program that it wrote": starts_its_own_program,
    "start a program from memory": starts_from_memory,
    "start a program of the machine": starts("/usr/bin/env"),
    "start a program by the loader": starts(*glob.glob("/usr/lib/*-linux-gnu/ld-linux-*.so.*"), "/usr/bin/true"),
    "load a library that it wrote": loads_its_own_library,
    # RestrictSUIDSGID, NoNewPrivileges, CapabilityBoundingSet
    "make a program for another user": makes_root_program,
    "use a program with more rights": uses_a_program_with_more_rights,
    "become root": in_a_child(lambda: os.setuid(0)),
    "give a file away": in_a_child(lambda: os.chown("/proc/self/fd/1", 1, 1)),
    # UMask, LimitCORE, LimitNOFILE, TasksMax
    "make a file that others can read": makes_readable_file,
    "leave an image of its memory": raises_limit(resource.RLIMIT_CORE, 4096),
    "open 5000 files": raises_limit(resource.RLIMIT_NOFILE, 5000),
    "start a hundred processes": many_processes,
    # MemoryDenyWriteExecute
    "map memory to write and execute": writable_and_executable,
    "make memory executable": becomes_executable,
    # RestrictNamespaces
    "make a user namespace": in_a_child(lambda: checked(libc.unshare(CLONE_NEWUSER))),
    "make a mount namespace": in_a_child(lambda: checked(libc.unshare(CLONE_NEWNS))),
    "make a network namespace": in_a_child(lambda: checked(libc.unshare(CLONE_NEWNET))),
    "mount a file system": mounts,
    "mount for all to see": mounts_for_all,
    # RestrictRealtime, LockPersonality, SystemCallFilter, SystemCallArchitectures
    "real-time scheduling": in_a_child(real_time),
    "another personality": in_a_child(lambda: call(SYS_PERSONALITY, ADDR_NO_RANDOMIZE)),
    "trace a process": in_a_child(lambda: call(SYS_PTRACE, PTRACE_TRACEME, 0, 0, 0)),
    "read the memory of a process": in_a_child(lambda: moves_memory(SYS_PROCESS_VM_READV)),
    "write the memory of a process": in_a_child(lambda: moves_memory(SYS_PROCESS_VM_WRITEV)),
    "compare two processes": in_a_child(lambda: call(SYS_KCMP, os.getpid(), os.getpid(), 0, 0, 0)),
    "take an open file of a process": in_a_child(lambda: call(SYS_PIDFD_GETFD, os.pidfd_open(os.getpid()), 1, 0)),
    "handle faults of memory": in_a_child(lambda: call(SYS_USERFAULTFD, UFFD_USER_MODE_ONLY)),
    "keep a key in the kernel": in_a_child(keeps_a_key),
    "choose its processor": in_a_child(lambda: os.sched_setaffinity(0, os.sched_getaffinity(0))),
    "swap": in_a_child(lambda: checked(libc.swapoff(b"/dev/null/none"))),
    "change the root": in_a_child(lambda: os.chroot("/")),
    "call as another architecture": in_a_child(calls_as_another_architecture),
    "load BPF": in_a_child(lambda: call(SYS_BPF, 0, 0, 0)),
    # ProtectClock, ProtectHostname, ProtectKernel*, ProtectControlGroups
    "set the clock": sets_clock,
    "set the host name": in_a_child(lambda: socket.sethostname(socket.gethostname())),
    "read the kernel's log": lambda: call(SYS_SYSLOG, 10, 0, 0),
    "load a module": lambda: call(SYS_INIT_MODULE, ctypes.create_string_buffer(1), ctypes.c_size_t(1), b""),
    "change a kernel variable": same_value("/proc/sys/kernel/panic"),
    "change a control group": changes_control_group,
    # RestrictAddressFamilies, PrivateNetwork, IPAddressDeny, PrivateIPC
    "a socket of the internet": talks(socket.AF_INET),
    "a socket of the kernel": talks(socket.AF_NETLINK, socket.SOCK_RAW),
    "a socket for raw packets": talks(socket.AF_PACKET, socket.SOCK_RAW),
    "a socket of another machine": talks(socket.AF_VSOCK, socket.SOCK_STREAM),
    "a local socket": talks(socket.AF_UNIX),
    "ask root's services": asks_roots_services,
    "reach a program by the network": reaches_a_program,
    "use the memory of others": uses_shared_memory,
}


def outcome(probe: Callable[[], None]) -> str:
    try:
        probe()
    except subprocess.CalledProcessError as error:
        return f"exit code {error.returncode}"
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error.errno))
    except (IndexError, ValueError):
        return "there is none"
    return "possible"


def main() -> None:
    found = {name: outcome(PROBES[name]) for name in sys.argv[1:] or PROBES}
    with open("/proc/self/status") as file:
        status = file.read()
    found.update(dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line))
    json.dump(found, sys.stdout)


main()
