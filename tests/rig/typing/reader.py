"""Runs in the machine: a program that reads a keyboard of flowpi, as a desktop does, and writes down its events.

    python3 reader.py FILE

Each line of FILE is `CODE VALUE` of a key; `open` or `gone`; or, where the kernel has dropped events, `dropped` and the
codes of the keys that are down then. The keyboard is grabbed, so that the console does not read it too.
"""

import fcntl
import glob
import os
import struct
import sys
import time

EVENT = struct.Struct("llHHi")
EV_SYN, EV_KEY, SYN_DROPPED = 0, 1, 3
EVIOCGRAB = 0x40044590
EVIOCGNAME = 0x80FF4506
EVIOCGKEY = 0x80604518


def name_of(handle: int) -> bytes:
    name = bytearray(255)
    fcntl.ioctl(handle, EVIOCGNAME, name)
    return bytes(name)


def find() -> int | None:
    for path in glob.glob("/dev/input/event*"):
        try:
            handle = os.open(path, os.O_RDONLY)
        except OSError:
            continue
        if b"flowpi keyboard" in name_of(handle):
            fcntl.ioctl(handle, EVIOCGRAB, 1)
            return handle
        os.close(handle)
    return None


def read(handle: int, file: int) -> None:
    """Write down all events, until the keyboard is gone."""
    while True:
        lines = []
        for _, _, kind, code, value in EVENT.iter_unpack(os.read(handle, 64 * EVENT.size)):
            if kind == EV_KEY:
                lines.append(f"{code} {value}")
            elif (kind, code) == (EV_SYN, SYN_DROPPED):
                keys = bytearray(96)
                fcntl.ioctl(handle, EVIOCGKEY, keys)
                down = [number for number in range(8 * len(keys)) if keys[number // 8] >> number % 8 & 1]
                lines.append(f"dropped {' '.join(map(str, down))}".rstrip())
        os.write(file, "".join(f"{line}\n" for line in lines).encode())


def main() -> None:
    file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    while True:
        while (handle := find()) is None:
            time.sleep(0.05)
        os.write(file, b"open\n")
        try:
            read(handle, file)
        except OSError:
            os.write(file, b"gone\n")
            os.close(handle)


main()
