"""Makes this machine a USB keyboard of the computer at its cable, and takes that back: `flowpi-gadget.service`.

The kernel's configfs: https://docs.kernel.org/usb/gadget_configfs.html. The order of the writes matters: the function
is complete before it is linked into the configuration, and the name of the controller, written last, connects it.
"""

import contextlib
import os
from pathlib import Path

from flowpi.core.errors import KeyboardError
from flowpi.core.typing.usages import DESCRIPTOR, REPORT_BYTES

CONFIGFS = Path("/sys/kernel/config/usb_gadget")
CONTROLLERS = Path("/sys/class/udc")
NAME = "flowpi"

VENDOR, PRODUCT = 0x1D6B, 0x0104
"""The Linux Foundation's, as of most gadgets that are put together at home; flowpi has none of its own."""

ENGLISH = "strings/0x409"
FUNCTION, CONFIGURATION = "functions/hid.keyboard", "configs/c.1"
LINK = f"{CONFIGURATION}/hid.keyboard"

BUS_POWERED_WITH_WAKEUP = 0xA0
MOST_2_MA = 250

ATTRIBUTES: dict[str, bytes] = {
    "idVendor": f"{VENDOR:#06x}".encode(),
    "idProduct": f"{PRODUCT:#06x}".encode(),
    "bcdDevice": b"0x0100",
    "bcdUSB": b"0x0200",
    f"{ENGLISH}/manufacturer": b"flowpi",
    f"{ENGLISH}/product": b"flowpi keyboard",
    f"{ENGLISH}/serialnumber": b"1",
    f"{CONFIGURATION}/{ENGLISH}/configuration": b"keyboard",
    f"{CONFIGURATION}/MaxPower": str(MOST_2_MA).encode(),
    f"{CONFIGURATION}/bmAttributes": f"{BUS_POWERED_WITH_WAKEUP:#x}".encode(),
    # A keyboard that firmware understands, too: the boot subclass, the protocol of a keyboard.
    f"{FUNCTION}/protocol": b"1",
    f"{FUNCTION}/subclass": b"1",
    f"{FUNCTION}/report_length": str(REPORT_BYTES).encode(),
    f"{FUNCTION}/report_desc": DESCRIPTOR,
}
"""What is written, in this order; the directories are made on the way."""


def up(configfs: Path = CONFIGFS, controllers: Path = CONTROLLERS) -> str:
    """Make the keyboard and connect it; return the name of the controller. What is left of one of before is removed.

    Raises:
        KeyboardError: there is no controller, or the kernel does not make the keyboard.
    """
    if not configfs.is_dir():
        hint = "its module libcomposite is missing: `sudo modprobe libcomposite`"
        raise KeyboardError("no_host", "this kernel makes no USB devices", hint)
    gadget = configfs / NAME
    try:
        down(configfs)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise KeyboardError("no_host", f"cannot remove {gadget} ({why})", "restart the machine") from error
    if not (found := sorted(one.name for one in controllers.glob("*"))):
        hint = "`sudo flowpi setup --usb-keyboard`, then restart it; docs/typing.md says which Pi can be a keyboard"
        raise KeyboardError("no_host", "this machine has no controller to be a USB device with", hint)
    try:
        for name, content in ATTRIBUTES.items():
            (gadget / name).parent.mkdir(parents=True, exist_ok=True)
            (gadget / name).write_bytes(content)
        (gadget / LINK).symlink_to(gadget / FUNCTION)
        (gadget / "UDC").write_text(found[0])
    except OSError as error:
        with contextlib.suppress(OSError):
            down(configfs)
        why = (error.strerror or str(error)).lower()
        hint = "another gadget may have the controller: is g_hid, g_ether or the like loaded (lsmod)?"
        raise KeyboardError("no_host", f"cannot make a USB keyboard with {found[0]} ({why})", hint) from error
    return found[0]


def down(configfs: Path = CONFIGFS) -> None:
    """Disconnect the keyboard and remove it, if there is one. Raises OSError."""
    gadget = configfs / NAME
    if not gadget.is_dir():
        return
    with contextlib.suppress(OSError):  # it was not connected
        (gadget / "UDC").write_text("\n")  # to write nothing at all would do nothing
    with contextlib.suppress(FileNotFoundError):
        (gadget / LINK).unlink()
    for name in (f"{CONFIGURATION}/{ENGLISH}", CONFIGURATION, FUNCTION, ENGLISH, ""):
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(gadget / name)
