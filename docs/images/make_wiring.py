"""Draw `wiring.svg`: how the button and the LED are wired to the header of the Pi.

Run without arguments, it writes the picture beside itself. The numbers of the GPIO pins are flowpi's defaults.
"""

from pathlib import Path

PICTURE = Path(__file__).with_name("wiring.svg")

BUTTON_GPIO = "GPIO 17"
LED_GPIO = "GPIO 27"

HEADER = (
    ("3.3 V", "5 V"),
    ("GPIO 2", "5 V"),
    ("GPIO 3", "ground"),
    ("GPIO 4", "GPIO 14"),
    ("ground", "GPIO 15"),
    (BUTTON_GPIO, "GPIO 18"),
    (LED_GPIO, "ground"),
)
"""The first pins of the header, a row for each pair: odd numbers on the left, even ones on the right."""

GROUND_WIRE, BUTTON_WIRE, LED_WIRE = "#6b7280", "#1f6feb", "#c2570c"
WIRES = {9: GROUND_WIRE, 11: BUTTON_WIRE, 13: LED_WIRE, 14: GROUND_WIRE}
"""The color of the wire on each pin that has one."""

PIN_X = (360, 400)
"""The positions of the left and the right column of pins."""

TOP_Y, ROW_PX = 80, 40


def pin(number: int) -> tuple[int, int]:
    """Return the position of a pin by its number on the header."""
    return PIN_X[(number - 1) % 2], TOP_Y + (number - 1) // 2 * ROW_PX


def wire(color: str, path: str) -> str:
    return f'<path d="{path}" fill="none" stroke="{color}" stroke-width="3" stroke-linejoin="round"/>'


def text(x: int, y: int, words: str, more: str = "") -> str:
    return f'<text x="{x}" y="{y}" {more}>{words}</text>'


def header() -> list[str]:
    """Draw the board, and each pin with its number and its name; a pin with a wire has its name in a frame."""
    drawn = [
        '<rect x="330" y="30" width="100" height="318" rx="10" fill="#2d7d46"/>',
        text(380, 54, "pin 1 is next to the SD card", 'text-anchor="middle" class="small" dy="-32"'),
        '<rect x="342" y="60" width="76" height="280" rx="4" fill="#22262a"/>',
    ]
    for row, names in enumerate(HEADER):
        for column, name in enumerate(names):
            number = 2 * row + column + 1
            x, y = pin(number)
            frame_x = 440 if column else 220
            middle = frame_x + 50
            if number in WIRES:
                end = frame_x if column else frame_x + 100
                drawn.append(wire(WIRES[number], f"M{x} {y}H{end}"))
                frame = f'fill="#ffffff" stroke="{WIRES[number]}" stroke-width="2"'
                drawn.append(f'<rect x="{frame_x}" y="{y - 14}" width="100" height="28" rx="6" {frame}/>')
            shape = "M{0} {1}h20v20h-20z" if number == 1 else "M{0} {1}m0 10a10 10 0 1 0 20 0a10 10 0 1 0 -20 0"
            drawn.append(f'<path d="{shape.format(x - 10, y - 10)}" fill="#d9b44a"/>')
            drawn.append(text(x, y, str(number), 'text-anchor="middle" dy="4" class="pin"'))
            drawn.append(
                text(middle, y, name, f'text-anchor="middle" dy="5" class="{"used" if number in WIRES else ""}"')
            )
    return drawn


def button() -> list[str]:
    """Draw the push button, between ground and its GPIO pin."""
    ground_y, signal_y = pin(9)[1], pin(11)[1]
    middle = (ground_y + signal_y) // 2
    return [
        wire(GROUND_WIRE, f"M220 {ground_y}H120"),
        wire(BUTTON_WIRE, f"M220 {signal_y}H120"),
        f'<rect x="56" y="{middle - 36}" width="72" height="72" rx="8" fill="#4a5158"/>',
        f'<circle cx="92" cy="{middle}" r="22" fill="#d64545"/>',
        text(92, middle - 48, "button", 'text-anchor="middle" class="used"'),
    ]


def led() -> list[str]:
    """Draw the LED and its resistor, between its GPIO pin and ground."""
    y, floor = pin(13)[1], 410
    return [
        wire(LED_WIRE, f"M220 {y}H160V{floor}H420"),
        wire(GROUND_WIRE, f"M420 {floor}H600V{y}H540"),
        f'<rect x="200" y="{floor - 14}" width="96" height="28" rx="4" fill="#e8d3a2" stroke="#7a6a3a"/>',
        text(248, floor, "330 ohm", 'text-anchor="middle" dy="5"'),
        f'<path d="M390 {floor - 20}V{floor + 20}L426 {floor}Z" fill="#f2c230" stroke="#7a6a3a"/>',
        f'<path d="M428 {floor - 20}V{floor + 20}" stroke="#22262a" stroke-width="4"/>',
        f'<path d="M420 {floor - 26}l12 -12m-6 0h6v6M434 {floor - 20}l12 -12m-6 0h6v6" fill="none" stroke="#b8860b"/>',
        text(342, floor + 36, "long leg", 'text-anchor="middle" class="small"'),
        text(410, floor + 36, "LED", 'text-anchor="middle" class="used"'),
        text(480, floor + 36, "short leg", 'text-anchor="middle" class="small"'),
    ]


def picture() -> str:
    style = (
        "text { font: 14px sans-serif; fill: #5b636b } .used { font-weight: bold; fill: #22262a } "
        ".small { font-size: 13px } .pin { font-size: 11px; fill: #22262a }"
    )
    lines = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 660 470" width="660" height="470" role="img">',
        f"<title>A button between ground (pin 9) and {BUTTON_GPIO} (pin 11); "
        f"{LED_GPIO} (pin 13) through 330 ohm and an LED to ground (pin 14)</title>",
        f"<style>{style}</style>",
        '<rect width="660" height="470" rx="12" fill="#f6f8fa"/>',
        *header(),
        *button(),
        *led(),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PICTURE.write_text(picture())
