"""What other processes of the same user can do to an undumpable one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rig.appliance import Appliance, Process
from tests.waiting import PATIENCE_S

GUARDED = """
import ctypes, os, sys
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # changing the user has made it undumpable
secret = bytearray(b"a word")
if sys.argv[1] == "guarded":
    from flowpi.host.undumpable import forbid_dumps
    forbid_dumps()
address = ctypes.addressof(ctypes.c_char.from_buffer(secret))
root = os.open("/", os.O_RDONLY)
own = os.listdir("/proc/self/fd"), os.listdir(f"/proc/self/fd/{root}/"), open("/proc/self/status").read()
print(os.getpid(), address, all(own), flush=True)
sys.stdin.read()
"""

THIEF = """
import ctypes, os, sys
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
pid, address = int(sys.argv[1]), int(sys.argv[2])
libc = ctypes.CDLL(None, use_errno=True)

def by_file():
    with open(f"/proc/{pid}/mem", "rb") as memory:
        memory.seek(address)
        assert memory.read(6) == b"a word"

def by_call():
    class Piece(ctypes.Structure):
        _fields_ = [("at", ctypes.c_void_p), ("length", ctypes.c_size_t)]
    found = ctypes.create_string_buffer(6)
    mine, its = Piece(ctypes.addressof(found), 6), Piece(address, 6)
    if libc.process_vm_readv(pid, ctypes.byref(mine), 1, ctypes.byref(its), 1, 0) < 0:
        raise PermissionError
    assert found.raw == b"a word"

for steal in (by_file, by_call, lambda: os.listdir(f"/proc/{pid}/root/"), lambda: os.listdir(f"/proc/{pid}/fd")):
    try:
        steal()
        print("stolen")
    except PermissionError:
        print("refused")
"""


@pytest.mark.parametrize("kind", ["guarded", "open"])
def test_nobody_of_the_same_user_reads_its_memory_and_files(kind: str) -> None:
    command = [sys.executable, "-c"]
    with subprocess.Popen(
        [*command, GUARDED, kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        pid, address, looks_at_itself = process.stdout.readline().split()
        thief = subprocess.run([*command, THIEF, pid, address], capture_output=True, text=True, timeout=PATIENCE_S)
        process.communicate()
    assert looks_at_itself == "True"
    assert thief.stderr == ""
    assert set(thief.stdout.split()) == {"refused" if kind == "guarded" else "stolen"}


WITHOUT_RIGHTS = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
"""Of two processes of root, one may trace the other, as those of any user may, if neither has a right more."""

START = f"import os, sys; command = {WITHOUT_RIGHTS} + [sys.executable, *sys.argv[1:]]; os.execvp(command[0], command)"


def test_both_services_are_undumpable(tmp_path: Path) -> None:
    appliance = Appliance(tmp_path, "audio.source=wav", "audio.path=flowpi/data/demo.wav", "server.engine=echo")
    for service in (["serve", "--listen", f"unix:{appliance.asr}"], ["run"]):
        process = Process(["-c", START, "-m", "flowpi", *service, *appliance.options], tmp_path, {})
        try:
            process.notice("READY=1")
            command = [*WITHOUT_RIGHTS, "cat", f"/proc/{process.process.pid}/environ"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
        finally:
            process.close()
        assert (done.returncode, done.stdout) == (1, ""), service
        assert "Permission denied" in done.stderr
