"""A booted Debian with systemd as its first process, on this machine's kernel, in half a second: systemd-nspawn.

It starts on an overlay of a root, which is not changed. It has only a loopback network, no GPIO and no sound, and
limits of memory and devices are not enforced in it: use `machine.py` for those. It needs root.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from tests.rig.debian import unique_name

PATIENCE_S = 300.0
"""The time limit of every wait: what dpkg does in 15 s takes minutes on a machine that is busy with something else."""


WITH_THIS_PROCESS = ("setpriv", "--pdeathsig", "KILL", "--")
"""The prefix of a command that must end with its parent, even if the parent is killed."""


IN_GROUPS = 'until [ "$1" = -- ]; do echo 0 > "$1/cgroup.procs"; shift; done; shift; exec "$@"'
"""A shell script that moves itself to the cgroups before `--`, and becomes the command behind it."""


ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "TERM": "dumb", "LC_ALL": "C.UTF-8"}
NO_MORE: Mapping[str, str] = {}


class Done(NamedTuple):
    code: int
    out: str
    """Standard output and standard error in one text, in the order of writing."""


class Container:
    def __init__(
        self,
        layers: Sequence[Path],
        work: Path,
        environment: Mapping[str, str] = NO_MORE,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """
        Args:
            layers: a root, preceded by what covers it, such as the `changes` of another container.
            work: an empty directory that is not on an overlay; the changes stay in it.
            environment: of its first process, and of what `run` runs; services have what systemd gives them.
            patience_s: the time limit of each wait that has none of its own.
        """
        self.root, self.changes = work / "root", work / "changes"
        self._layers, self._spare = layers, work / "spare"
        self._environment, self._patience_s = environment, patience_s
        self._console = work / "console.log"
        self._name = unique_name()
        self._groups = [mount / self._name for mount in _hierarchies()]
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def start(self) -> Self:
        """Boot, and wait until systemd has started all units."""
        for directory in (self.root, self.changes, self._spare):
            directory.mkdir(parents=True, exist_ok=True)
        options = f"lowerdir={':'.join(map(str, self._layers))},upperdir={self.changes},workdir={self._spare}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, self.root], check=True)
        command = ["systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--private-network"]
        command += ["--resolv-conf=off", "--timezone=off", "--link-journal=no", "--console=pipe"]
        command += [f"--machine={self._name}", "--directory", str(self.root)]
        command += [f"--setenv={name}={value}" for name, value in self._environment.items()]
        # In the group of this process, the systemds of several containers would make, empty and delete the same groups,
        # and a service would sometimes not start because its own has just gone.
        for group in self._groups:
            group.mkdir(exist_ok=True)
        command = ["sh", "-c", IN_GROUPS, "sh", *map(str, self._groups), "--", *WITH_THIS_PROCESS, *command]
        with self._console.open("ab") as console:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=console, stderr=console)
        deadline = time.monotonic() + self._patience_s
        while not self._leader:
            self._leader = self._find_leader()
            assert self._process.poll() is None, f"the container ended: {self._console.read_text()}"
            assert time.monotonic() < deadline, f"the container does not start: {self._console.read_text()}"
            time.sleep(0.02)
        # Before systemd has made its socket, systemctl cannot even wait.
        while (state := self.run("systemctl is-system-running --wait").out.strip()) not in ("running", "degraded"):
            assert time.monotonic() < deadline, f"{state}: {self._console.read_text()}"
            time.sleep(0.02)
        return self

    def _find_leader(self) -> int:
        """Return the pid, on this machine, of the process that is process 1 in the container and has become systemd."""
        assert self._process
        for child in Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split():
            try:
                status = Path(f"/proc/{child}/status").read_text()
            except (FileNotFoundError, ProcessLookupError):  # a short-lived helper of systemd-nspawn
                continue
            lines = dict(line.split(":\t", 1) for line in status.splitlines())
            if lines["NSpid"].split()[-1] == "1" and lines["Name"] == "systemd":
                return int(child)
        return 0

    @property
    def pid(self) -> int:
        """The pid, on this machine, of the container's first process."""
        return self._leader

    def run(self, script: str, timeout_s: float | None = None) -> Done:
        """Run a shell script as root in the container to its end. If the container ended meanwhile, this fails."""
        enter = ["nsenter", f"--target={self._leader}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]
        done = subprocess.run(
            [*enter, "--", "/bin/bash", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s or self._patience_s,
            env={**ENVIRONMENT, **self._environment},
        )
        # What no process is left to answer is no answer: of a process that has ended, this is no longer there.
        alive = os.path.exists(f"/proc/{self._leader}/ns/mnt")
        assert alive, f"the container ended: {self._console.read_text()}"
        return Done(done.returncode, done.stdout.decode(errors="replace"))

    def sh(self, script: str, timeout_s: float | None = None) -> str:
        """Return the output of a script that must end with 0."""
        done = self.run(script, timeout_s)
        assert done.code == 0, f"exit code {done.code}: {script}\n{done.out}"
        return done.out

    def until(self, script: str, timeout_s: float | None = None) -> str:
        """Run a script repeatedly until it ends with 0; return its output."""
        deadline = time.monotonic() + (timeout_s or self._patience_s)
        while (done := self.run(script)).code:
            assert time.monotonic() < deadline, f"exit code {done.code}: {script}\n{done.out}"
            time.sleep(0.05)
        return done.out

    def path(self, inside: str) -> Path:
        """Return the path of a container's file on this machine, except below /run, /tmp and /dev."""
        return self.root / inside.lstrip("/")

    def put(self, source: Path, inside: str) -> None:
        shutil.copy(source, self.path(inside))

    def stop(self) -> None:
        """Kill the container. Its files stay for another `start`."""
        if self._process and self._process.poll() is None:
            os.kill(self._leader or self._process.pid, signal.SIGKILL)
        if self._process:
            self._process.wait(PATIENCE_S)
            subprocess.run(["umount", self.root], check=True)
            for group in self._groups:
                for inner, _, _ in os.walk(group, topdown=False):
                    with contextlib.suppress(
                        OSError
                    ):  # its last process has not gone yet; an empty group costs nothing
                        os.rmdir(inner)
        self._process, self._leader = None, 0

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _hierarchies() -> list[Path]:
    """Return the cgroup mounts in which systemd keeps its services apart: that of version 2, and its own of version 1.

    Not the controllers of version 1: a group of `cpu`, for one, has no time for real-time processes.
    """
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [Path(where) for _, where, kind, how, *_ in mounts if kind == "cgroup2" or "name=systemd" in how.split(",")]
