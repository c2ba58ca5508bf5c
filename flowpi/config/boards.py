"""The microphone boards of a Pi, as data: the keys that `board:` sets unless the configuration does."""

from typing import Any, Literal

from msgspec import Struct

from flowpi.audio.cards import RESPEAKER_CARDS

PLAIN = {
    "button": {"kind": "gpio", "pin": 17, "active": "low"},
    "led": {"kind": "gpio", "pin": 27},
}
"""The wiring of docs/hardware.md, which is also the default of each key."""


def _respeaker_2mic(card: str) -> dict[str, dict[str, Any]]:
    """Return what the ReSpeaker 2-Mic sets, whose sound card has this id.

    Not tried, but taken from projects that use the board: a button on GPIO 17, three APA102 on SPI (without chip
    select, so that device 0 works as well as the vendor's 1). The vendor's page is
    wiki.seeedstudio.com/ReSpeaker_2_Mics_Pi_HAT. The board records in stereo only.
    """
    return {
        "audio": {"device": f"plughw:CARD={card}", "channels": 2},
        "button": {"kind": "gpio", "pin": 17, "active": "low"},
        "led": {"kind": "apa102", "spi": [0, 0], "count": 3},
        "cues": {"device": f"plughw:CARD={card}"},
    }


BOARDS: dict[str, dict[str, dict[str, Any]]] = {
    "plain": PLAIN,
    # Either of the two below: `audio/cards.py` takes the id that the card has.
    "respeaker-2mic": _respeaker_2mic("seeed2micvoicec"),
    # WM8960 at I2C address 0x1a. The id is that in the kernel's overlay, wm8960-soundcard.
    "respeaker-2mic-v1": _respeaker_2mic("wm8960soundcard"),
    # TLV320AIC3104 at I2C address 0x18. The id is that in the vendor's overlay, respeaker-2mic-v2_0.
    "respeaker-2mic-v2": _respeaker_2mic("seeed2micvoicec"),
    # An INMP441, SPH0645 or ICS43434 with the overlay googlevoicehat-soundcard, wired as in docs/hardware.md. Not
    # `plughw`, which would narrow its 32 bits to 16 before the gain. Speech at 30 to 50 cm is near -55 dBFS there.
    "i2s-mic": {
        "audio": {
            "device": "hw:CARD=sndrpigooglevoi",
            "rate": 48_000,
            "channels": 2,
            "channel": 0,
            "gain_db": 30.0,
        },
        **PLAIN,
    },
    # The Voice HAT (kit V1). The Voice Bonnet of V2 has the same button, but its LED is on I2C: `led.kind: none`. Pins:
    # github.com/google/aiyprojects-raspbian, src/aiy/board.py (BUTTON_PIN, LED_PIN). The name of the card is that in
    # the overlay googlevoicehat-soundcard of Raspberry Pi OS. It has 48 kHz stereo with 32 bits only.
    "aiy-voice-kit": {
        "audio": {"device": "plughw:CARD=sndrpigooglevoi", "rate": 48_000, "channels": 2},
        "button": {"kind": "gpio", "pin": 23, "active": "low"},
        "led": {"kind": "gpio", "pin": 25},
        "cues": {"device": "plughw:CARD=sndrpigooglevoi"},
    },
}

SOUND_PINS = {"i2s-mic": (16, 18, 19, 20, 21)}
"""The pins, in BCM numbers, that carry the sound of a board, so that neither button nor LED can be there. Of an I2S
microphone the overlay drives 16 too, as the switch of an amplifier."""


class Control(Struct, frozen=True):
    """A mixer control that keeps the input of a codec closed, or nearly, after a boot.

    Attributes:
        name: as `amixer scontrols` shows it.
        kind: a switch, where 0 is off and 1 is on, or a volume, in the steps of the codec.
        boots_at: its value after a boot. Any other is somebody's setting.
        set_to: what it needs for speech.
    """

    name: str
    kind: Literal["switch", "volume"]
    boots_at: int
    set_to: int


WM8960 = (
    Control("Left Input Mixer Boost", "switch", 0, 1),
    Control("Right Input Mixer Boost", "switch", 0, 1),
    Control("Capture", "volume", 23, 39),  # 0 dB and 12 dB, of 63 steps
    Control("Capture", "switch", 0, 1),
)
TLV320AIC3104 = (Control("PGA", "volume", 32, 95),)  # 16 dB and 47.5 dB, 80 % of 119 steps

CONTROLS: dict[str, tuple[Control, ...]] = {
    "respeaker-2mic": WM8960 + TLV320AIC3104,
    "respeaker-2mic-v1": WM8960,
    "respeaker-2mic-v2": TLV320AIC3104,
}
"""The controls to change after a boot, by board. Not tried: the names and the values of the boot are those in the
kernel's drivers, and the gains those that projects with these boards use."""


def controls_of(board: str | None, device: str) -> tuple[Control, ...]:
    """Return the controls to change if the microphone is that of the board, by whichever name."""
    is_of_board = any(card in device for card in RESPEAKER_CARDS)
    return CONTROLS.get(board, ()) if board is not None and is_of_board else ()


def with_board(tree: dict[str, Any], board: str) -> dict[str, Any]:
    """Return the user's configuration with the keys of a board where it sets none.

    Sections that are no mapping are left as they are, for the check to report.
    """
    merged = dict(tree)
    for section, defaults in BOARDS[board].items():
        written = tree.get(section, {})
        if isinstance(written, dict):
            merged[section] = {**defaults, **written}
    return merged
