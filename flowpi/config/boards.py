"""The microphone boards of a Pi, as data: the keys that `board:` sets unless the configuration does."""

from typing import Any

BOARDS: dict[str, dict[str, dict[str, Any]]] = {
    # The wiring of docs/hardware.md, which is also the default of each key.
    "plain": {
        "button": {"kind": "gpio", "pin": 17, "active": "low"},
        "led": {"kind": "gpio", "pin": 27},
    },
    # Not tried, but taken from projects that use the board: a button on GPIO 17, three APA102 on SPI (without chip
    # select, so that device 0 works as well as the vendor's 1), and the name of the card in the vendor's overlay. The
    # vendor's page is wiki.seeedstudio.com/ReSpeaker_2_Mics_Pi_HAT. The board records in stereo only.
    "respeaker-2mic": {
        "audio": {"device": "plughw:CARD=seeed2micvoicec", "channels": 2},
        "button": {"kind": "gpio", "pin": 17, "active": "low"},
        "led": {"kind": "apa102", "spi": [0, 0], "count": 3},
        "cues": {"device": "plughw:CARD=seeed2micvoicec"},
    },
    # The Voice HAT (kit V1). The Voice Bonnet of V2 has the same button, but its LED is on I2C: `led.kind: none`. Pins:
    # github.com/google/aiyprojects-raspbian, src/aiy/board.py (BUTTON_PIN, LED_PIN). The name of the card is that in
    # the overlay googlevoicehat-soundcard of Raspberry Pi OS. It has 48 kHz stereo with 32 bits only, hence `plughw`.
    "aiy-voice-kit": {
        "audio": {"device": "plughw:CARD=sndrpigooglevoi", "rate": 48_000, "channels": 2},
        "button": {"kind": "gpio", "pin": 23, "active": "low"},
        "led": {"kind": "gpio", "pin": 25},
        "cues": {"device": "plughw:CARD=sndrpigooglevoi"},
    },
}


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
