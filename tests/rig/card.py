"""A Raspberry Pi 3 that boots the image of `make image` from its card: QEMU's raspi3b, emulated arm64.

The image is made by the same scripts, from the rig's package, and is not compressed: `python -m tests.rig.card`.

Nothing is added to the card. Kernel, initrd and device tree are those on its boot partition, which QEMU loads in place
of the firmware; the commands of a test go to the shell that systemd offers by a word on the kernel's command line.
There is no network, no sound card, and nobody who presses the button.

The machine's time is that of its instructions: it jumps while all wait, and it does not run away from a computer that
is busy, so that no time limit in the machine depends on this one.
"""

import base64
import inspect
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.rig import arm, debian, store
from tests.rig.container import WITH_THIS_PROCESS, Done
from tests.rig.package import package

TREE = Path(__file__).parents[2]
SCRIPTS = TREE / "image"
QEMU_PACKAGES = ("device-tree-compiler", "qemu-system-arm")
BASE_PARTS = ("make-base", "make-root", "native-helpers", "packages", "sources", "tree/etc/fstab")
"""What the part of the image that is Debian is made of; and tree/etc/initramfs-tools."""

EPOCH = "1754697600"
"""The time of all files: the same image for the same package."""

PATIENCE_S = 3600.0
"""The time limit of every wait: a boot is minutes of computing, on a computer that may have other work."""

CARD_BYTES = 4 << 30
BOOT_AT, BOOT_START, BOOT_BYTES, TABLE_BYTES = "@@4M", 4 << 20, 256 << 20, 512
SERIAL = "00000000f10c1234"
"""What the firmware of a board tells the kernel, and QEMU does not; as the revision of the board below."""

NOT_THERE = "brcmfmac,cfg80211,drm,dwc2,snd_bcm2835,vc4,vchiq"
"""Drivers of what the device tree names and QEMU does not have, or has nothing behind: they take long to load."""

COMMAND_LINE = (
    f"console=ttyS1,115200 {{own}} modprobe.blacklist={NOT_THERE}"
    " systemd.debug_shell=ttyAMA0 systemd.show_status=no {more}"
)
"""With all four processors: one that `maxcpus` leaves out spins in QEMU, so that time never jumps."""

WATCHDOG_OFF = "systemd.watchdog_sec=off"
"""QEMU's watchdog of the BCM2835 resets the machine when it is armed, not when it runs out."""


def programs() -> Path:
    """Return a root with Trixie's QEMU, in which the time of a raspi3b can be that of its instructions, and the tools
    that make the image."""
    packages = [*QEMU_PACKAGES, *" ".join(re.findall(r"^[^#\n]+", (SCRIPTS / "tools").read_text(), re.M)).split()]
    make = SCRIPTS / "make-tools"

    def unpack(place: Path) -> None:
        debian.run([make, place / "root", *packages])

    return store.kept("image-tools", store.key(make, *packages), unpack) / "root"


def base() -> Path:
    """Return the archive of the image's Debian."""
    parts = [*(SCRIPTS / name for name in BASE_PARTS), *_files(SCRIPTS / "tree/etc/initramfs-tools")]
    return store.kept("image-base", store.key(*parts), _make_base) / "base.tar"


def _make_base(place: Path) -> None:
    arm.emulate()
    debian.run([SCRIPTS / "make-base", place / "base.tar"], timeout_s=PATIENCE_S)


def _files(tree: Path) -> list[Path]:
    return sorted(path for path in tree.rglob("*") if path.is_file())


def _inside(root: Path, program: str) -> list[str]:
    """Return a command that runs a program of another release with the libraries of that release."""
    (libraries,) = root.glob("usr/lib/*-linux-gnu")
    (loader,) = (file for file in root.glob("usr/lib*/**/ld-linux-*.so.*") if not file.is_symlink())
    return [str(loader), "--library-path", str(libraries), str(root / program)]


def fresh() -> Path:
    """Return a directory with `card.raw`, the card as it comes from the image, and what its firmware would load."""
    deb = package("trixie", arm.ARCH)
    parts: list[str | Path] = [*_files(SCRIPTS), TREE / "config/flowpi-boot.yaml", inspect.getsource(prepare)]
    return store.kept("card", store.key(base().parent.name, deb.parent.name, *parts), lambda place: _flash(deb, place))


def _flash(deb: Path, place: Path) -> None:
    arm.emulate()
    settings = {"SOURCE_DATE_EPOCH": EPOCH, "IMAGE_TOOLS": str(programs())}
    command = [SCRIPTS / "make-image", base(), deb, place / "card.img"]
    debian.run(command, timeout_s=PATIENCE_S, env={**os.environ, **settings})
    (place / "card.img").rename(place / "card.raw")
    prepare(place)


def prepare(place: Path) -> None:
    """Do with `card.raw` in `place` what a card and a firmware would: give it its size, and load what is booted."""
    card = place / "card.raw"
    debian.run(["fallocate", "--dig-holes", card])
    os.truncate(card, CARD_BYTES)
    names = debian.run(["mdir", "-b", "-i", f"{card}{BOOT_AT}", "::"]).split()
    for name, start in {"vmlinuz": "::/vmlinuz-", "initrd": "::/initrd.img-", "dtb": "::/bcm2837-rpi-3-b.dtb"}.items():
        (wanted,) = (each for each in names if each.startswith(start))
        debian.run(["mcopy", "-i", f"{card}{BOOT_AT}", wanted, place / name])
    debian.run(["mcopy", "-i", f"{card}{BOOT_AT}", "::/cmdline.txt", place / "cmdline.txt"])
    put = _inside(programs(), "usr/bin/fdtput")
    debian.run([*put, "-c", place / "dtb", "/system"])
    debian.run([*put, "-t", "x", place / "dtb", "/system", "linux,revision", "a02082"])
    debian.run([*put, "-t", "s", place / "dtb", "/", "serial-number", SERIAL])
    # Its serial line would be the kernel's alone, and not the shell's.
    debian.run([*put, "-t", "s", place / "dtb", "/soc/serial@7e201000/bluetooth", "status", "disabled"])


class Card:
    """A card in a Pi, or in a card reader while the Pi is off."""

    def __init__(self, flashed: Path, work: Path) -> None:
        """
        Args:
            flashed: the directory of `fresh`.
            work: a directory for the card, which is changed.
        """
        self._flashed, self._work = flashed, work
        self._raw = work / "card.raw"
        self._process: subprocess.Popen[bytes] | None = None
        self._shell: socket.socket | None = None
        self._unread = b""
        self._count = 0
        self.console = work / "console.log"
        debian.run(["cp", "--sparse=always", "--reflink=auto", flashed / "card.raw", self._raw])

    # In a card reader

    def save(self, content: bytes, name: str) -> None:
        """Save a file on the boot partition."""
        file = self._work / "file"
        file.write_bytes(content)
        debian.run(["mcopy", "-o", "-i", f"{self._raw}{BOOT_AT}", file, f"::/{name}"])

    def read(self, name: str) -> bytes:
        """Return a file on the boot partition, also while the Pi runs; empty if there is none."""
        command = ["mtype", "-i", f"{self._raw}{BOOT_AT}", f"::/{name}"]
        return subprocess.run(command, capture_output=True, check=False).stdout

    def table(self) -> bytes:
        """Return the sector with the table of the partitions."""
        with self._raw.open("rb") as file:
            return file.read(TABLE_BYTES)

    def boot_partition(self) -> bytes:
        """Return every byte of the boot partition, in files or not."""
        with self._raw.open("rb") as file:
            file.seek(BOOT_START)
            return file.read(BOOT_BYTES)

    def root_bytes(self) -> int:
        """Return the size of the root's file system, by the superblock of ext4."""
        with self._raw.open("rb") as file:
            file.seek(BOOT_START + BOOT_BYTES + 1024)
            superblock = file.read(1024)
        blocks, log_kb = (int.from_bytes(superblock[at : at + 4], "little") for at in (4, 24))
        return blocks << 10 + log_kb

    # In the Pi

    def boot(self, more: str = "") -> None:
        """Switch the Pi on, and return when its shell answers, early in the boot."""
        self.switch_on(f"{WATCHDOG_OFF} {more}")
        self.wait_until(lambda: (self._work / "shell").exists())
        self._shell = socket.socket(socket.AF_UNIX)
        self._shell.connect(str(self._work / "shell"))
        # The second shell reads lines as the terminal has them, and shows no line that it was sent.
        self._greet("here")
        self._shell.sendall(b"exec sh\n")
        self._greet("there")
        self._shell.sendall(b"stty -echo; PS1=; PS2=\n")

    def switch_on(self, more: str = "") -> None:
        """Switch the Pi on. `more`: more words of the kernel's command line."""
        root = programs()
        (self._work / "shell").unlink(missing_ok=True)
        own = " ".join(
            word for word in (self._flashed / "cmdline.txt").read_text().split() if not word.startswith("console=")
        )
        command = [*_inside(root, "usr/bin/qemu-system-aarch64"), "-L", str(root / "usr/share/qemu")]
        command += ["-machine", "raspi3b", "-icount", "shift=1,sleep=off", "-display", "none", "-no-reboot"]
        command += ["-kernel", f"{self._flashed}/vmlinuz", "-initrd", f"{self._flashed}/initrd"]
        command += ["-dtb", f"{self._flashed}/dtb", "-append", COMMAND_LINE.format(own=own, more=more)]
        command += ["-drive", f"file={self._raw},if=sd,format=raw"]
        command += [
            "-chardev",
            f"socket,id=shell,path={self._work}/shell,server=on,wait=off",
            "-serial",
            "chardev:shell",
        ]
        command += ["-chardev", f"file,id=console,path={self.console},append=on", "-serial", "chardev:console"]
        command += ["-monitor", "none"]
        (modules,) = root.glob("usr/lib/*-linux-gnu/qemu")
        with (self._work / "qemu.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*WITH_THIS_PROCESS, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "QEMU_MODULE_DIR": str(modules)},
            )

    def _greet(self, word: str) -> None:
        """Ask until a shell answers with the word: what comes before it is lost."""
        assert self._shell
        self._unread = b""
        self._shell.settimeout(10)
        deadline = time.monotonic() + PATIENCE_S
        question = f"echo {word[:2]}''{word[2:]}\n".encode()  # not as it is answered
        ask = question
        while f"{word}\r\n".encode() not in self._unread:
            assert time.monotonic() < deadline, self._console_end()
            self._alive()
            try:
                self._shell.sendall(ask)
                ask = b""  # not for each echo of it, which would never end
                self._unread += self._shell.recv(1 << 16)
            except TimeoutError:
                ask = question

    def wait_for_reset(self) -> None:
        """Wait until the Pi resets itself, which switches it off here."""
        assert self._process
        self._process.wait(PATIENCE_S)

    def power_cut(self) -> None:
        """Pull the plug. The card keeps what was written to it."""
        if self._process and self._process.poll() is None:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if self._shell:
            self._shell.close()
        self._process = self._shell = None

    def _alive(self) -> None:
        assert self._process, "it is off"
        ended = self._process.poll()
        assert ended is None, f"QEMU ended: {ended}\n{(self._work / 'qemu.log').read_text()}\n{self._console_end()}"

    def _console_end(self) -> str:
        return self.console.read_text(errors="replace")[-4000:] if self.console.exists() else ""

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for something on the card or about it, as this computer sees it."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            self._alive()
            assert time.monotonic() < deadline, self._console_end()
            time.sleep(0.05)

    def run(self, script: str) -> Done:
        """Run a shell script as root in the Pi to its end."""
        assert self._shell, "it is off"
        self._count += 1
        mark = f"--{self._count}--"
        shown = f"'--'{self._count}--"  # not as it is answered, in case the shell still shows what it was sent
        text = base64.encodebytes(script.encode()).decode()
        ask = f"base64 -d > /run/ask << END\n{text}END\n"
        ask += "sh /run/ask > /run/answer 2>&1 < /dev/null; code=$?\n"
        ask += f"echo; echo {shown} $code; base64 /run/answer; echo {shown}\n"
        self._unread = b""
        self._shell.sendall(ask.encode())
        end = f"{mark}\r\n".encode()
        deadline = time.monotonic() + PATIENCE_S
        while end not in self._unread:
            assert time.monotonic() < deadline, f"no answer: {script}\n{self._console_end()}"
            self._alive()
            try:
                self._unread += self._shell.recv(1 << 16)
            except TimeoutError:
                continue
        said = self._unread.split(end)[0]
        code, _, answer = said.rpartition(mark.encode())[2].partition(b"\n")
        return Done(int(code), base64.b64decode(answer).decode(errors="replace"))

    def sh(self, script: str) -> str:
        """Return the output of a script that must end with 0."""
        done = self.run(script)
        assert done.code == 0, f"exit code {done.code}: {script}\n{done.out}"
        return done.out

    def until(self, *scripts: str) -> None:
        """Run scripts repeatedly until each has ended with 0. Waiting costs no computing, but asking does."""
        for script in scripts:
            self.sh(f"until {{ {script}; }} > /dev/null 2>&1; do sleep 10; done")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.power_cut()


if __name__ == "__main__":
    try:
        fresh()
    except debian.BuildFailed as error:
        sys.exit(f"rig: {error}")
