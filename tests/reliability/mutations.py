"""Invalid configurations: the reference file, changed at random."""

import random
import re
from pathlib import Path

REFERENCE = Path(__file__).parents[2] / "config" / "flowpi.yaml"

VALUES = [
    "null", "true", "[]", "{}", "-1", "0", "1e400", ".nan", "-.inf", "9" * 400, "0x7fffffffffffffff", "''", "text",
    "[1, [2, [3]]]", "{a: {b: c}}", "!!python/object/apply:os.system [ls]", "!!binary AAAA", "*nobody", "&a [*a]",
    "2026-11-21", "'\\0'", '"\\ud800"', "hold", "none", "48000", "../../etc/passwd", "{env: HOME}", "|\n      text",
]  # fmt: skip
RUBBISH = [
    b"\0",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\x1b[2J",
    b"\t",
    b"\r",
    b"---\n",
    b"...\n",
    b"%YAML 9\n",
    b"'",
    b"{",
    b"- ",
]


def without_comments(text: bytes) -> bytes:
    """Return a configuration without the lines that hold only a comment: a mistake there would be none."""
    return re.sub(rb"^ *#.*\n", b"", text, flags=re.MULTILINE)


def mutated(text: bytes, chance: random.Random) -> bytes:
    """Return the configuration `text` with one or a few mistakes; sometimes it is still valid."""
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        text = chance.choice(MUTATIONS)(text, chance)
    return text


def _line(text: bytes, chance: random.Random) -> tuple[list[bytes], int]:
    lines = text.split(b"\n")
    return lines, chance.randrange(len(lines))


def another_value(text: bytes, chance: random.Random) -> bytes:
    lines, _ = _line(text, chance)
    keys = [n for n, line in enumerate(lines) if re.match(rb" *[a-z_]+: *[^ #]", line)]
    if keys:
        n = chance.choice(keys)
        lines[n] = lines[n].split(b":")[0] + b": " + chance.choice(VALUES).encode()
    return b"\n".join(lines)


def another_key(text: bytes, chance: random.Random) -> bytes:
    lines, n = _line(text, chance)
    lines[n] = re.sub(rb"[a-z]", chance.choice((b"x", b"zz", b"")), lines[n], count=1)
    return b"\n".join(lines)


def another_indent(text: bytes, chance: random.Random) -> bytes:
    lines, n = _line(text, chance)
    lines[n] = chance.choice((b" ", b"    ", b"\t")) + lines[n]
    return b"\n".join(lines)


def a_line_less(text: bytes, chance: random.Random) -> bytes:
    lines, n = _line(text, chance)
    return b"\n".join(lines[:n] + lines[n + 1 :])


def a_line_twice(text: bytes, chance: random.Random) -> bytes:
    lines, n = _line(text, chance)
    return b"\n".join(lines[: n + 1] + lines[n:])


def rubbish(text: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(text) + 1)
    return text[:at] + chance.choice(RUBBISH) + text[at:]


def flipped(text: bytes, chance: random.Random) -> bytes:
    if not text:
        return text
    at = chance.randrange(len(text))
    return text[:at] + bytes([text[at] ^ 1 << chance.randrange(8)]) + text[at + 1 :]


def cut(text: bytes, chance: random.Random) -> bytes:
    return text[: chance.randrange(len(text) + 1)]


def nested(text: bytes, chance: random.Random) -> bytes:
    return text + b"\ncontext: " + chance.choice((b"[", b"{a: ")) * 5000


def a_bomb(text: bytes, chance: random.Random) -> bytes:
    """Append aliases of aliases: 9^9 nodes."""
    lines = [b"a0: &a0 x"] + [b"a%d: &a%d [%s]" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 10)]
    return text + b"\n" + b"\n".join(lines)


MUTATIONS = [
    another_value, another_value, another_value, another_key, another_key, another_indent, a_line_less, a_line_twice,
    rubbish, flipped, cut, nested, a_bomb,
]  # fmt: skip
