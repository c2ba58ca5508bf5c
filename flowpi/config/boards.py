"""Boards that a Pi can carry, as data: what `board:` sets where the configuration does not.

Imported by the configuration; imports nothing.
"""

from typing import Any

BOARDS: dict[str, dict[str, dict[str, Any]]] = {
    # The wiring of docs/hardware.md, which is also the default of each key.
    "plain": {
        "button": {"kind": "gpio", "pin": 17, "active": "low"},
        "led": {"kind": "gpio", "pin": 27},
    },
    # As projects that use the board have it, not tried: user button on GPIO 17, three APA102 on SPI (they have no chip
    # select, so device 0 does as well as the vendor's 1), and the card's name, which the vendor's overlay gives. The
    # vendor's page is wiki.seeedstudio.com/ReSpeaker_2_Mics_Pi_HAT. It hears in stereo only.
    "respeaker-2mic": {
        "audio": {"device": "plughw:CARD=seeed2micvoicec", "channels": 2},
        "button": {"kind": "gpio", "pin": 17, "active": "low"},
        "led": {"kind": "apa102", "spi": [0, 0], "count": 3},
        "cues": {"device": "plughw:CARD=seeed2micvoicec"},
    },
    # The Voice HAT (kit V1); the Voice Bonnet of V2 has the same button, but its LED hangs on I2C: `led.kind: none`.
    # Pins: github.com/google/aiyprojects-raspbian, src/aiy/board.py (BUTTON_PIN, LED_PIN). The card is called so by the
    # overlay googlevoicehat-soundcard of Raspberry Pi OS; it does 48 kHz stereo with 32 bits only, so `plughw`.
    "aiy-voice-kit": {
        "audio": {"device": "plughw:CARD=sndrpigooglevoi", "rate": 48_000, "channels": 2},
        "button": {"kind": "gpio", "pin": 23, "active": "low"},
        "led": {"kind": "gpio", "pin": 25},
        "cues": {"device": "plughw:CARD=sndrpigooglevoi"},
    },
}


def with_board(tree: dict[str, Any], board: str) -> dict[str, Any]:
    """What the owner wrote, on top of what a board sets. Sections that are no mapping are left as they are."""
    merged = dict(tree)
    for section, defaults in BOARDS[board].items():
        written = tree.get(section, {})
        if isinstance(written, dict):
            merged[section] = {**defaults, **written}
    return merged
