"""A program on a kernel with vfat, which this machine's own may lack: User Mode Linux, a kernel as a process.

It sees the files of this machine and writes to them; what it mounts ends with it. It needs no root.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.rig.disks import alone

MODULES = ("nls_cp437", "nls_ascii", "nls_iso8859-1", "fat", "vfat", "loop")
REMEDY = "apt-get install user-mode-linux kmod"

INIT = """\
#!/bin/sh
mount -t proc proc /proc
for module in {modules}; do
    insmod "$(find /usr/lib/uml/modules/"$(uname -r)" -name $module.ko)"
done
cd {directory}
export {environment}
{command} >{outcome}/stdout 2>{outcome}/stderr
echo $? >{outcome}/rc
sync
exec {python} -c 'import ctypes; ctypes.CDLL(None).reboot(0x4321FEDC)'  # LINUX_REBOOT_CMD_POWER_OFF
"""


def alone_with_vfat(module: str, *arguments: object, timeout_s: float = 300) -> Any:
    """Run a program that prints JSON where it can mount FAT filesystems of its own, and return what it printed."""
    if _knows_vfat():
        return alone(module, *arguments, timeout_s=timeout_s)
    kernel = shutil.which("linux.uml")
    if kernel is None or shutil.which("insmod") is None:
        raise RuntimeError(f"no kernel here knows vfat: {REMEDY}")
    wanted = {"HOME": "/", **{name: os.environ.get(name, "") for name in ("PATH", "PYTHONPATH")}}
    with tempfile.TemporaryDirectory() as directory:
        init, outcome = Path(directory, "init"), Path(directory)
        text = INIT.format(
            modules=" ".join(MODULES),
            directory=shlex.quote(os.getcwd()),
            environment=" ".join(f"{name}={shlex.quote(value)}" for name, value in wanted.items()),
            command=shlex.join([sys.executable, "-W", "ignore", "-m", module, *map(str, arguments)]),
            outcome=outcome,
            python=sys.executable,
        )
        init.write_text(text)
        init.chmod(0o755)
        options = ["mem=256M", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "rw", "quiet", f"init={init}"]
        options += [f"uml_dir={directory}", "con=null", "con0=null,fd:1"]
        said = subprocess.run(
            [kernel, *options],
            env={**os.environ, "TMPDIR": directory},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        assert (outcome / "rc").exists(), said.stdout + said.stderr
        assert (outcome / "rc").read_text() == "0\n", (outcome / "stderr").read_text()
        return json.loads((outcome / "stdout").read_text())


def _knows_vfat() -> bool:
    if shutil.which("modprobe"):
        subprocess.run(["modprobe", "--quiet", "vfat"], capture_output=True)
    return "vfat" in Path("/proc/filesystems").read_text().split()
