"""The line in `config.txt` by which the USB controller of a Pi is a device: `flowpi setup --usb-keyboard`.

The file has sections for boards, such as [cm5]; a line behind one counts for that board only. Raspberry Pi OS ends it
with such a section, so a line that is only appended does nothing on most boards.
Source: https://www.raspberrypi.com/documentation/computers/config_txt.html#conditional-filters
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from flowpi.core.errors import CannotCreateError, NoPermissionError, UnavailableError
from flowpi.host.folders import replace_file

LINE = "dtoverlay=dwc2,dr_mode=peripheral"
COMMENT = "# flowpi: this machine is a USB keyboard of the computer at its cable."

FILES = ("/boot/firmware/config.txt", "/boot/config.txt")

HUB = re.compile(r"Raspberry Pi (?:[23] )?Model B")
"""The models whose USB ports are behind a hub, which no computer can be."""

OTHER_GADGETS = re.compile(r"\bg_(?:hid|ether|serial|mass_storage|multi|cdc|ncm|audio|midi|acm_ms|webcam|printer)\b")


def can_be_keyboard(model: str) -> bool:
    """Return whether a Raspberry Pi of this model can be a USB device."""
    return not HUB.search(model)


def has_line(text: str) -> bool:
    """Return whether the controller is a device on every board, by a config.txt."""
    found = [_is_peripheral(line) for section, line in _lines(text) if _is_for_all(section) and _is_dwc2(line)]
    return bool(found) and all(found)


def with_line(text: str) -> str:
    """Return a config.txt by which the controller is a device on every board. What else it does stays."""
    if has_line(text):
        return text
    kept, section = [], "all"
    end = "\r\n" if "\r\n" in text else "\n"
    lines = text.removesuffix("\n").removesuffix("\r").split("\n") if text else []
    for line in lines:
        section = _section(line) or section
        # Two of these overlays would fight for the controller.
        kept.append(f"# {line}" if _is_for_all(section) and _is_dwc2(line) else line)
    return end.join([*(line.removesuffix("\r") for line in kept), "", "[all]", COMMENT, LINE, ""])


def in_the_way(text: str, command_line: str) -> list[str]:
    """Return what keeps the controller from being a device, by a config.txt and the kernel's command line."""
    found = [
        f"[{section}] {line}: on that board the controller is no device; take the line out if this is one"
        for section, line in _lines(text)
        if not _is_peripheral(line) and ((_is_dwc2(line) and not _is_for_all(section)) or line == "otg_mode=1")
    ]
    if other := OTHER_GADGETS.search(command_line):
        found.append(f"cmdline.txt loads {other[0]}, which has the controller for itself: take it out of modules-load=")
    return found


def find_file(root: str = "") -> Path:
    """Return the config.txt of this machine, or below a root. Raises UnavailableError: it is no Raspberry Pi."""
    for name in FILES:
        if os.path.isfile(root + name):
            return Path(root + name)
    hint = "another machine needs a USB controller that can be a device: see docs/typing.md"
    raise UnavailableError("there is no config.txt of a Raspberry Pi", hint)


def usb_keyboard(*, root: str, dry_run: bool) -> int:
    """Write the line, show it and what is in its way, and return the exit code.

    Raises:
        UnavailableError: it is no Raspberry Pi, or one that cannot be a USB device.
        NoPermissionError: only root may do that.
        CannotCreateError: the file cannot be read or written.
    """
    file = find_file(root)
    if not root and not can_be_keyboard(model := _read(Path("/proc/device-tree/model")).rstrip("\0")):
        raise UnavailableError(f"a {model} cannot be a USB keyboard", "docs/typing.md says which Pi can")
    try:
        text = _text_of(file)
    except OSError as error:  # what cannot be read must not be replaced
        raise CannotCreateError(f"cannot read {file} ({error.strerror})") from error
    changed = with_line(text)
    print(f"{file} has the line already, under [all]:" if changed == text else f"{file} gets, under [all]:")
    print(f"  {LINE}")
    for problem in in_the_way(text, _read(file.with_name("cmdline.txt"))):
        print(f"in the way: {problem}")
    if changed == text or dry_run:
        return 0
    if os.geteuid() != 0:
        raise NoPermissionError(f"{file} is for root", "run it with sudo; --dry-run shows what it does")
    try:
        replace_file(file, changed.encode(errors="surrogateescape"), 0o755)  # FAT has one mode for all
    except OSError as error:
        raise CannotCreateError(f"cannot write {file} ({error.strerror})") from error
    print("restart the machine; then set publish.keyboard: {kind: hid, layout: ...}")
    return 0


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """Yield the lines that say something, without comments, each with its section."""
    section = "all"
    for line in text.splitlines():
        said = line.partition("#")[0].strip()
        section = _section(line) or section
        if said and not _section(line):
            yield section, said


def _section(line: str) -> str | None:
    found = re.match(r"\s*\[([^\]]*)\]", line)
    return found[1].strip().lower() if found else None


def _is_for_all(section: str) -> bool:
    return section == "all"


def _is_dwc2(line: str) -> bool:
    return bool(re.match(r"\s*dtoverlay\s*=\s*dwc2\b", line))


def _is_peripheral(line: str) -> bool:
    return _is_dwc2(line) and "dr_mode=peripheral" in line


def _text_of(path: Path) -> str:
    return path.read_bytes().decode(errors="surrogateescape")


def _read(path: Path) -> str:
    try:
        return _text_of(path)
    except OSError:
        return ""
