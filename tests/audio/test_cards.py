"""The sound cards of a machine, by a copy of what sysfs shows of them, and the device that leads to one of them."""

from pathlib import Path

import pytest

from flowpi.audio.cards import Card, card_of, cards, only_microphone, resolved
from flowpi.core.errors import MicrophoneError

HDMI = Card(0, "vc4hdmi0", False)
LEFT = Card(1, "Device", True, "1-1.2")
RIGHT = Card(2, "Device_1", True, "1-1.3")
V1, V2 = Card(1, "wm8960soundcard", True), Card(1, "seeed2micvoicec", True)


def plug_in(sysfs: Path, card: Card, device: str) -> None:
    """Add a card as the kernel shows it: a link from its number to what it belongs to."""
    (behind := sysfs / "devices" / device).mkdir(parents=True)
    (folder := sysfs / f"card{card.number}").mkdir()
    (folder / "id").write_text(f"{card.id}\n")
    (folder / "device").symlink_to(behind)
    (sysfs / f"pcmC{card.number}D0p").mkdir()
    if card.captures:
        (sysfs / f"pcmC{card.number}D0c").mkdir()


def test_cards_as_a_pi_shows_them(tmp_path: Path) -> None:
    assert cards(tmp_path) == []
    hub = "platform/soc/3f980000.usb/usb1/1-1"
    plug_in(tmp_path, RIGHT, f"{hub}/1-1.3/1-1.3:1.0")
    plug_in(tmp_path, HDMI, "platform/soc/3f902000.hdmi")
    plug_in(tmp_path, LEFT, f"{hub}/1-1.2/1-1.2:1.0")
    assert cards(tmp_path) == [HDMI, LEFT, RIGHT]
    assert cards(tmp_path / "nothing") == []


def test_a_card_with_a_high_number_is_no_other_card(tmp_path: Path) -> None:
    plug_in(tmp_path, Card(1, "vc4hdmi1", False), "platform/hdmi1")
    plug_in(tmp_path, Card(11, "Device", True, "2-1"), "usb2/2-1/2-1:1.0")
    assert [card.captures for card in cards(tmp_path)] == [False, True]


def test_a_card_at_a_port() -> None:
    assert resolved("usb:1-1.2", [HDMI, LEFT, RIGHT]) == "plughw:CARD=Device"
    # Both were plugged in again in the other order: the ids have changed places.
    swapped = [HDMI, Card(1, "Device", True, "1-1.3"), Card(2, "Device_1", True, "1-1.2")]
    assert resolved("usb:1-1.2", swapped) == "plughw:CARD=Device_1"


def test_no_card_at_a_port() -> None:
    with pytest.raises(MicrophoneError, match=r"USB port\): set audio.device to one of usb:1-1.3 \(Device_1\)$"):
        resolved("usb:1-1.2", [HDMI, RIGHT])
    with pytest.raises(MicrophoneError, match="plug the microphone in there"):
        resolved("usb:1-1", [HDMI])


@pytest.mark.parametrize(
    ("device", "there", "expected"),
    [
        ("plughw:CARD=seeed2micvoicec", [HDMI, V2], "plughw:CARD=seeed2micvoicec"),
        ("plughw:CARD=seeed2micvoicec", [HDMI, V1], "plughw:CARD=wm8960soundcard"),
        ("plughw:CARD=wm8960soundcard,DEV=0", [V2], "plughw:CARD=seeed2micvoicec,DEV=0"),
        ("plughw:CARD=wm8960soundcard", [HDMI], "plughw:CARD=wm8960soundcard"),
        ("plughw:CARD=Device", [V1], "plughw:CARD=Device"),
        ("default", [V1], "default"),
        ("dsnoop:1", [], "dsnoop:1"),
    ],
)
def test_a_board_whose_card_has_two_names(device: str, there: list[Card], expected: str) -> None:
    assert resolved(device, there) == expected


def test_the_only_card_that_records() -> None:
    assert only_microphone([HDMI, LEFT]) == "plughw:CARD=Device"
    with pytest.raises(MicrophoneError, match="no sound card here records"):
        only_microphone([HDMI])
    with pytest.raises(MicrophoneError, match=r"several sound cards record.*plughw:CARD=Device, plughw:CARD=Device_1"):
        only_microphone([HDMI, LEFT, RIGHT])


@pytest.mark.parametrize(
    ("device", "card"),
    [
        ("plughw:CARD=Device", "Device"),
        ("plughw:CARD=Device,DEV=0", "Device"),
        ("hw:1,0", "1"),
        ("plughw:seeed2micvoicec", "seeed2micvoicec"),
        ("default", None),
        ("pulse", None),
    ],
)
def test_the_card_of_a_device(device: str, card: str | None) -> None:
    assert card_of(device) == card
