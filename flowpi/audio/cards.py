"""The sound cards of this machine, by sysfs, and the ALSA name that leads to one of them now.

Numbers of cards change from boot to boot, and two equal USB microphones share their ids by the order in which they were
found. What stays is the id of a card that is alone of its kind, and the port that a USB card is plugged into.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from flowpi.core.errors import MicrophoneError

SYSFS = Path("/sys/class/sound")

USB = "usb:"
"""The beginning of a device that is named by its port, as in `usb:1-1.2`."""

RESPEAKER_CARDS = ("seeed2micvoicec", "wm8960soundcard")
"""The ids that the sound card of a ReSpeaker 2-Mic has with different drivers: its vendor's and the kernel's."""

SAME_BOARD = (RESPEAKER_CARDS,)
"""The ids of cards that are one board with different drivers."""

NONE_RECORDS = "no sound card here records"
SEVERAL_RECORD = "several sound cards record"
NOT_AT_PORT = "no sound card is at this USB port"


class Card(Struct, frozen=True):
    """A sound card.

    Attributes:
        number: its number, which it has until it is unplugged or the machine stops.
        id: its short name, which no other card has now.
        captures: whether it records.
        port: the USB port, such as `1-1.2`: bus 1, port 1, and port 2 of the hub there; None for other cards.
    """

    number: int
    id: str
    captures: bool
    port: str | None = None

    @property
    def device(self) -> str:
        """The value of `audio.device` that finds it again, unless another card of its kind comes."""
        return f"plughw:CARD={self.id}"


def cards(sysfs: Path | None = None) -> list[Card]:
    """Return all sound cards, by number."""
    sysfs = sysfs or SYSFS
    found = []
    for folder in sysfs.glob("card*"):
        try:
            name = (folder / "id").read_text().strip()
        except OSError:  # unplugged meanwhile
            continue
        number = int(folder.name.removeprefix("card"))
        # The card of a USB device belongs to one of its interfaces: .../usb1/1-1/1-1.2/1-1.2:1.0
        port = re.fullmatch(r"(\d+-[\d.]+):\d+\.\d+", os.path.basename(os.path.realpath(folder / "device")))
        captures = any(sysfs.glob(f"pcmC{number}D*c"))
        found.append(Card(number, name, captures, port[1] if port else None))
    return sorted(found, key=lambda card: card.number)


def card_of(device: str) -> str | None:
    """Return the id or number of the card in an ALSA PCM name, or None if the name does not contain it."""
    found = re.search(r"CARD=([\w-]+)", device) or re.match(r"(?:plug)?hw:([\w-]+)", device)
    return found[1] if found else None


def resolved(device: str, there: Sequence[Card] | None = None) -> str:
    """Return the ALSA PCM that a device of the configuration means now, which mostly is the same.

    Args:
        device: an ALSA PCM, or `usb:PORT`.
        there: the cards; None for those of this machine, which are read only if the device depends on them.

    Raises:
        MicrophoneError: there is no card at the port.
    """
    name = card_of(device)
    kin = next((ids for ids in SAME_BOARD if name in ids), ())
    if not device.startswith(USB) and not kin:
        return device
    there = cards() if there is None else there
    if kin:
        present = [card.id for card in there if card.id in kin]
        return device if name in present or not present else device.replace(str(name), present[0])
    port = device.removeprefix(USB)
    for card in there:
        if card.port == port:
            return card.device
    ports = [f"{USB}{card.port} ({card.id})" for card in there if card.port and card.captures]
    hint = f"set audio.device to one of {', '.join(ports)}" if ports else "plug the microphone in there"
    raise MicrophoneError(device, NOT_AT_PORT, hint)


def only_microphone(there: Sequence[Card] | None = None) -> str:
    """Return the ALSA PCM of the one card that records, which stands in for a `default` that does not work.

    ALSA's `default` is the first card, which on a Pi mostly is an HDMI socket and only plays.

    Raises:
        MicrophoneError: none records, or more than one.
    """
    recording = [card for card in (cards() if there is None else there) if card.captures]
    if len(recording) == 1:
        return recording[0].device
    if not recording:
        hint = "plug a microphone in, and it is found; for one on the pins set `board`, see docs/hardware.md"
        raise MicrophoneError("default", NONE_RECORDS, hint)
    hint = f"set audio.device to one of {', '.join(card.device for card in recording)}"
    raise MicrophoneError("default", SEVERAL_RECORD, hint)
