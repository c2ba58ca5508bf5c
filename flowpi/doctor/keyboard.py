"""The check of the keyboard that types: its device, whose it is, the layout, and what the computer says."""

import grp
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flowpi.config.schema import Config
from flowpi.core.errors import LayoutError
from flowpi.doctor.ask import status_of, text_of
from flowpi.doctor.findings import Finding, fine
from flowpi.keyboard.chosen import layout_of
from flowpi.keyboard.trial import USER
from flowpi.setup import usb_keyboard

PART = "keyboard"

ROOT = Path("/")
UINPUT, HIDG = "dev/uinput", "dev/hidg0"

UDEV = "sudo udevadm control --reload && sudo udevadm trigger"


def examine(config: Config, root: Path = ROOT) -> list[Finding]:
    """Return the findings; none if no keyboard is configured. `root`: the folder with /dev, /sys, /proc and /boot."""
    settings = config.publish.keyboard
    if settings.kind == "none":
        return []
    found = [*(_uinput(root) if settings.kind == "uinput" else _gadget(root))]
    try:
        keys = layout_of(settings)()
    except LayoutError as error:
        found.append(Finding(PART, "failure", "layout", error.message, error.hint))
    else:
        if not found:
            found = list(_computer(status_of(config)))
        found = found or [fine(PART, f"types in the layout {f'{keys.name} {keys.variant}'.rstrip()}")]
    return found


def _uinput(root: Path) -> Iterator[Finding]:
    if not (root / UINPUT).exists():
        what = "there is no /dev/uinput, by which a program is a keyboard"
        yield Finding(PART, "failure", "absent", what, "sudo modprobe uinput; the kernel must have that module")
    else:
        yield from _rights(root / UINPUT)


def _gadget(root: Path) -> Iterator[Finding]:
    if (root / HIDG).exists():
        yield from _rights(root / HIDG)
        return
    if list((root / "sys/class/udc").glob("*")):
        what = "there is a controller and no /dev/hidg0: the USB keyboard was not made"
        hint = "sudo systemctl restart flowpi-gadget flowpi-keyboard; `journalctl -u flowpi-gadget` says why"
        yield Finding(PART, "failure", "absent", what, hint)
        return
    model = text_of(root / "proc/device-tree/model").rstrip("\0")
    if model.startswith("Raspberry Pi") and not usb_keyboard.can_be_keyboard(model):
        hint = "docs/typing.md says which Pi can; publish.keyboard.kind uinput types into this machine"
        yield Finding(PART, "failure", "no_controller", f"a {model} cannot be a USB keyboard", hint)
        return
    for name in usb_keyboard.FILES:
        file = root / name.lstrip("/")
        if not (text := text_of(file)):
            continue
        if not usb_keyboard.has_line(text):
            what = f"/{name.lstrip('/')} has no {usb_keyboard.LINE} for all boards"
            yield Finding(PART, "failure", "no_peripheral", what, "sudo flowpi setup --usb-keyboard, then restart it")
            return
        for problem in usb_keyboard.in_the_way(text, text_of(file.with_name("cmdline.txt"))):
            what, _, hint = problem.partition(": ")
            yield Finding(PART, "failure", "no_controller", what, f"{hint}, then restart it")
            return
        break
    what = "this machine has no USB controller that can be a device"
    yield Finding(PART, "failure", "no_controller", what, "restart it if config.txt was changed; see docs/typing.md")


def _rights(node: Path) -> Iterator[Finding]:
    """Check that the service may open a device, by the group that flowpi.rules gives it."""
    found = node.stat()
    try:
        group = grp.getgrgid(found.st_gid).gr_name
    except KeyError:
        group = str(found.st_gid)
    if group != USER or found.st_mode & 0o060 != 0o060:
        what = f"/dev/{node.name} is for the group {group!r}, and the keyboard's service is in {USER!r}"
        yield Finding(PART, "failure", "forbidden", what, f"{UDEV}, then sudo systemctl restart flowpi-keyboard")
    elif found.st_mode & 0o006:
        what = f"every program of this machine may type by /dev/{node.name}"
        yield Finding(PART, "warning", "exposed", what, f"{UDEV}; look for another rule in /etc/udev/rules.d")


def _computer(status: dict[str, Any] | None) -> Iterator[Finding]:
    """Yield what the keyboard's process has found at the computer."""
    for sink in (status or {}).get("sinks", []):
        if sink["name"] != PART:
            continue
        reason, _, message = (sink["error"] or "").partition(": ")
        if sink["state"] == "failing" and reason in ("no_host", "asleep"):
            what, _, hint = message.partition(": ")
            yield Finding(PART, "warning", reason, what, hint)
        elif sink.get("caps_lock"):
            yield Finding(PART, "ok", "caps_lock", "Caps Lock is on at the computer; texts come out right all the same")
