"""The disks of the machine: a root with the package installed as by a user, a data disk, and a boot partition.

The only parts of flowpi in them are its package, and a configuration on the boot partition. The rig adds the modules of
the kernel, the simulated board, and access for the tests.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

from tests.rig import boot_disk, debian, store
from tests.rig.machine import BOOT_S, Machine

GUEST = Path(__file__).parent / "guest"

UNWANTED = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "proc-sys-fs-binfmt_misc.automount",
    "systemd-binfmt.service",
)
"""The units that are left out: timers that would start in the middle of a test, and what needs a missing module."""

SOUND = """\
# The card's other side, 0, is where a test speaks.
pcm.!default {
	type plug
	slave.pcm "hw:Loopback,1"
}
"""

UNITS = {
    "rig-channel.service": "multi-user.target",
    "rig-room.service": "multi-user.target",
    "rig-simulate.service": "sysinit.target",
}

FSTAB = """\
/dev/vda / ext4 rw,noatime 0 1
/dev/vdb /var/lib/flowpi ext4 rw,noatime,x-systemd.device-timeout=15min 0 2
/dev/vdc /boot/firmware vfat rw,noatime,x-systemd.device-timeout=15min 0 2
"""

SECRET = "0123456789-a-key-of-this-house"

CARD = f"""\
# Written on a kitchen table. A recogniser at a tenth of its speed is not one that has failed.
device_id: kitchen
dictation: {{backends: [local], first_result_timeout_s: 300}}
backends: {{local: {{kind: flow, url: "ws+unix:///run/flowpi/asr.sock", client_key: {SECRET}}}}}
...
"""
"""The whole configuration of the machine, which a user left on the boot partition before the first boot."""

READY = "ready"
"""The name of the saved state: booted once, with the daemon and the recogniser ready."""


def disks(root: Path, kernel: Path, place: Path, install: Callable[[Path], None]) -> None:
    """Make the three disks of a machine in `place`. `install`: installs flowpi in a root."""
    work = place / "work"
    with debian.layered(root, work) as tree:
        install(tree)
        _furnish(tree, kernel)
        _disk(place, "system", "3G", "mke2fs", "-q", "-t", "ext4", "-d", tree)
    store.remove(work)
    _disk(place, "data", "64M", "mke2fs", "-q", "-t", "ext4")
    _disk(place, "boot", "32M", "mkfs.vfat", "-n", "bootfs")
    boot_disk.copy_to(place, CARD, "flowpi.yaml")


def _disk(place: Path, name: str, size: str, *make: str | Path) -> None:
    """Make a disk in the format in which the machine's states can be saved with its memory."""
    raw = place / f"{name}.raw"
    debian.run(["truncate", f"--size={size}", raw])
    debian.run([*make, raw])
    debian.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, place / f"{name}.qcow2"])
    raw.unlink()


def _furnish(tree: Path, kernel: Path) -> None:
    """Add what the rig needs to an installed system."""
    shutil.copytree(kernel / "lib/modules", tree / "lib/modules", dirs_exist_ok=True)
    scripts, units = tree / "usr/lib/rig", tree / "etc/systemd/system"
    scripts.mkdir()
    for name in ("channel.py", "room.py", "simulate.sh"):
        shutil.copy(GUEST / name, scripts)
    for service in tree.glob("lib/systemd/system/flowpi*.service"):
        drop_ins = units / f"{service.name}.d"
        drop_ins.mkdir(exist_ok=True)
        shutil.copy(GUEST / "slow.conf", drop_ins)
    for unit, target in UNITS.items():
        shutil.copy(GUEST / unit, units)
        (units / f"{target}.wants").mkdir(exist_ok=True)
        (units / f"{target}.wants" / unit).symlink_to(f"../{unit}")
    for unit in UNWANTED:
        (units / unit).unlink(missing_ok=True)
        (units / unit).symlink_to("/dev/null")
    for directory in ("var/lib/flowpi", "boot/firmware"):
        (tree / directory).mkdir(parents=True, exist_ok=True)
    (tree / "etc/asound.conf").write_text(SOUND)
    (tree / "etc/fstab").write_text(FSTAB)
    (tree / "etc/hostname").write_text("front-desk\n")
    (tree / "etc/machine-id").write_text("")


def boot(kernel: Path, disks: Path, place: Path) -> None:
    """Boot a machine until the daemon and the recogniser are ready, and save it in `place`."""
    copy(disks, place)
    with Machine(kernel, place) as machine:
        machine.sh("systemctl is-system-running --wait || true", BOOT_S)
        machine.until("systemctl is-active flowpi && systemctl is-active flowpi-asr", BOOT_S)
        # All tests would fail of it, none of them with the reason.
        machine.sh("systemctl is-active flowpi-provision || { journalctl --no-pager --unit=flowpi-provision; exit 1; }")
        machine.sh("sync")
        machine.save(READY)
    for name in ("channel", "qmp"):
        (place / name).unlink()


def copy(disks: Path, place: Path) -> None:
    """Copy the disks for one use."""
    for disk in disks.glob("*.qcow2"):
        debian.run(["cp", "--reflink=auto", "--sparse=always", disk, place])
