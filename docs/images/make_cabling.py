"""Draw `cabling.svg`: which socket of a Pi leads to the computer that it types into, and where its power comes from.

Run without arguments, it writes the picture beside itself.
"""

from pathlib import Path

PICTURE = Path(__file__).with_name("cabling.svg")

BOARD, CABLE, POWER, INK = "#2d7d46", "#1f6feb", "#c2570c", "#22262a"
WIDTH, ROW_PX, TOP_Y = 760, 150, 70

ROWS = (
    ("Zero, Zero W, Zero 2 W", "USB", "the inner socket, marked USB", "the same cable, or PWR IN"),
    ("A+, 3A+", "USB-A", "its only socket, by a cable from A to A", "the micro-USB socket"),
    ("4, 400, 5, 500", "USB-C", "the socket for power", "the same cable if it is enough; else 5 V on pins 2 and 6"),
)
"""The models, their socket for the cable, what that socket is, and where the power comes from."""


def text(x: int, y: int, words: str, kind: str = "", anchor: str = "middle") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" class="{kind}">{words}</text>'


def row(number: int, models: str, socket: str, which: str, power: str) -> list[str]:
    """Draw a Pi, the cable from its socket to the computer, and its power."""
    y = TOP_Y + number * ROW_PX
    middle = y + 40
    return [
        f'<rect x="30" y="{y}" width="190" height="80" rx="10" fill="{BOARD}"/>',
        text(115, middle - 2, "Raspberry Pi", "board"),
        text(115, middle + 18, models, "board"),
        f'<rect x="204" y="{middle - 14}" width="56" height="28" rx="4" fill="#d9dde1" stroke="{INK}"/>',
        text(232, middle + 5, socket, "pin"),
        f'<path d="M260 {middle}H560" fill="none" stroke="{CABLE}" stroke-width="4"/>',
        text(410, middle - 12, which, "used"),
        text(410, middle + 24, f"power: {power}", "power"),
        f'<rect x="560" y="{y}" width="160" height="80" rx="6" fill="#4a5158"/>',
        text(640, middle + 5, "the computer", "board"),
    ]


def picture() -> str:
    height = TOP_Y + len(ROWS) * ROW_PX
    style = (
        f"text {{ font: 14px sans-serif; fill: #5b636b }} .used {{ font-weight: bold; fill: {INK} }} "
        f".board {{ font-weight: bold; fill: #ffffff }} .pin {{ font-size: 12px; fill: {INK} }} "
        f".power {{ font-size: 12px; fill: {POWER} }}"
    )
    title = "The cable that types: " + "; ".join(f"{models}: {which}" for models, _, which, _ in ROWS)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{title}</title>",
        f"<style>{style}</style>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        text(WIDTH // 2, 36, "One cable with data lines, from this socket to the computer", "used"),
        *(line for number, one in enumerate(ROWS) for line in row(number, *one)),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PICTURE.write_text(picture())
