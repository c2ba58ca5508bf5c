"""Draw `wiring-BOARD.svg` for each microphone board: what each pin of the header leads to.

Run without arguments, it writes the pictures beside itself. A test compares the pins with those of the configuration.
"""

from pathlib import Path

FOLDER = Path(__file__).parent

HEADER = (
    ("3.3 V", "5 V"),
    ("GPIO 2", "5 V"),
    ("GPIO 3", "ground"),
    ("GPIO 4", "GPIO 14"),
    ("ground", "GPIO 15"),
    ("GPIO 17", "GPIO 18"),
    ("GPIO 27", "ground"),
    ("GPIO 22", "GPIO 23"),
    ("3.3 V", "GPIO 24"),
    ("GPIO 10", "ground"),
    ("GPIO 9", "GPIO 25"),
    ("GPIO 11", "GPIO 8"),
    ("ground", "GPIO 7"),
    ("GPIO 0", "GPIO 1"),
    ("GPIO 5", "ground"),
    ("GPIO 6", "GPIO 12"),
    ("GPIO 13", "ground"),
    ("GPIO 19", "GPIO 16"),
    ("GPIO 26", "GPIO 20"),
    ("ground", "GPIO 21"),
)
"""All pins, a row for each pair: odd numbers on the left, even ones on the right."""

POWER, GROUND, SOUND, CONTROL, BUTTON, LED = "#d64545", "#6b7280", "#2d7d46", "#8250df", "#1f6feb", "#c2570c"

I2S_OF_A_BOARD = {
    12: ("sound: bit clock", SOUND),
    35: ("sound: word clock", SOUND),
    38: ("sound: from microphones", SOUND),
}
TO_A_SPEAKER = {40: ("sound: to the speaker", SOUND)}

BOARDS: dict[str, tuple[str, dict[int, tuple[str, str]]]] = {
    "i2s-mic": (
        "INMP441, SPH0645 or ICS43434, a button and an LED",
        {
            1: ("microphone: VDD (3V)", POWER),
            12: ("microphone: SCK (BCLK)", SOUND),
            35: ("microphone: WS (LRCL)", SOUND),
            38: ("microphone: SD (DOUT)", SOUND),
            34: ("microphone: L/R (SEL)", GROUND),
            39: ("microphone: GND", GROUND),
            9: ("button", GROUND),
            11: ("button", BUTTON),
            13: ("330 ohm, LED long leg", LED),
            14: ("LED short leg", GROUND),
            36: ("leave free: the overlay", POWER),
            40: ("leave free: the overlay", POWER),
        },
    ),
    "respeaker-2mic": (
        "ReSpeaker 2-Mic, V1 and V2.0: it sits on the header, and uses these pins",
        {
            3: ("codec: data (I2C)", CONTROL),
            5: ("codec: clock (I2C)", CONTROL),
            **I2S_OF_A_BOARD,
            **TO_A_SPEAKER,
            11: ("button, on the board", BUTTON),
            19: ("three LEDs: data (SPI)", LED),
            23: ("three LEDs: clock (SPI)", LED),
        },
    ),
    "aiy-voice-kit": (
        "AIY Voice HAT (V1): it sits on the header, and uses these pins",
        {
            **I2S_OF_A_BOARD,
            **TO_A_SPEAKER,
            16: ("arcade button", BUTTON),
            22: ("LED in the button", LED),
            36: ("amplifier on", SOUND),
        },
    ),
}
"""For each board a title, and for each pin that is used its purpose and the colour of its wire."""

TOP_Y, ROW_PX, PIN_X = 96, 28, (360, 390)
LABEL_PX = 190
WIDTH, HEIGHT = 750, TOP_Y + 20 * ROW_PX + 20


def name_of(pin: int) -> str:
    """Return the name of a pin by its number on the header."""
    return HEADER[(pin - 1) // 2][(pin - 1) % 2]


def text(x: int, y: int, words: str, more: str = "") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="middle" {more}>{words}</text>'


def row(pin: int, used: dict[int, tuple[str, str]]) -> list[str]:
    """Draw a pin with its number and name, and where a wire goes a frame with its purpose."""
    on_right = (pin - 1) % 2
    x, y = PIN_X[on_right], TOP_Y + (pin - 1) // 2 * ROW_PX
    way = 1 if on_right else -1
    drawn = []
    if pin in used:
        purpose, color = used[pin]
        end = x + way * 110
        left = end if on_right else end - LABEL_PX
        drawn.append(f'<path d="M{x} {y}H{end}" stroke="{color}" stroke-width="3"/>')
        frame = f'fill="#ffffff" stroke="{color}" stroke-width="2"'
        drawn.append(f'<rect x="{left}" y="{y - 11}" width="{LABEL_PX}" height="22" rx="5" {frame}/>')
        drawn.append(text(left + LABEL_PX // 2, y, purpose, 'dy="5" class="used"'))
        drawn.append(f'<rect x="{x + way * 62 - 32}" y="{y - 9}" width="64" height="18" fill="#f6f8fa"/>')
    shape = "M{0} {1}h18v18h-18z" if pin == 1 else "M{0} {1}m0 9a9 9 0 1 0 18 0a9 9 0 1 0 -18 0"
    drawn.append(f'<path d="{shape.format(x - 9, y - 9)}" fill="#d9b44a"/>')
    drawn.append(text(x, y, str(pin), 'dy="4" class="pin"'))
    drawn.append(text(x + way * 62, y, name_of(pin), f'dy="5" class="{"used" if pin in used else ""}"'))
    return drawn


def picture(title: str, used: dict[int, tuple[str, str]]) -> str:
    style = (
        "text { font: 13px sans-serif; fill: #5b636b } .used { font-weight: bold; fill: #22262a } "
        ".title { font-size: 15px; font-weight: bold; fill: #22262a } .pin { font-size: 10px; fill: #22262a }"
    )
    spoken = "; ".join(f"pin {pin} ({name_of(pin)}): {used[pin][0]}" for pin in sorted(used))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
        ' role="img">',
        f"<title>{title}. {spoken}</title>",
        f"<style>{style}</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="12" fill="#f6f8fa"/>',
        text(WIDTH // 2, 30, title, 'class="title"'),
        text(WIDTH // 2, 56, "pin 1 is next to the SD card"),
        f'<rect x="342" y="{TOP_Y - 18}" width="66" height="{20 * ROW_PX + 8}" rx="4" fill="#22262a"/>',
    ]
    for pin in range(1, 41):
        lines += row(pin, used)
    return "\n".join([*lines, "</svg>"]) + "\n"


if __name__ == "__main__":
    for board, (title, used) in BOARDS.items():
        (FOLDER / f"wiring-{board}.svg").write_text(picture(title, used))
