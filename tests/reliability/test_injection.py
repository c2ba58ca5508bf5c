"""Texts that contain more than text: line breaks, commands to the terminal, changes of direction.

What a backend sends passes everything that prints, keeps or logs it; it stays one line, and nothing is interpreted.
"""

import asyncio
import json
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from flowpi.audio.utterance import About, Utterance
from flowpi.core.ulid import UlidFactory
from flowpi.spool.spool import Spool
from tests.backends.fake_backend import Call, FakeBackend
from tests.reliability.lives import SPEECH_S, Lives
from tests.rig.microphone import Microphone
from tests.terminal import acting
from tests.waiting import PATIENCE_S, until

NASTY = [
    "\x1b[2J", "\x1b]52;c;cm0gLXJmIH4=\x07", "\x1b]0;title\x1b\\", "\x9b31m", "\x9d52;c;eA==\x9c", "\x90q\x9c", "\r",
    "\n", "\r\n", "\0", "\x07", "\x08", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x7f", "\x85", "\u2028", "\u2029",
    "\u202e", "\u2066", "\u2069", "\u200f", "\u061c", "\ufeff", "\ufffe", "\U000e0041", "\U0010ffff", '"}\n{"topic":',
    "\\u001b[2J", "<3>error: ", "\nerror: the spool is lost", "\N{COMBINING GRAVE ACCENT}", "\N{FAMILY}", "e",
]  # fmt: skip
"""Terminal escapes in 7 and 8 bits, line ends of any program, changes of direction, ends of JSON, log prefixes."""

STRINGS = st.lists(st.sampled_from(NASTY) | st.text(max_size=10), max_size=6).map("".join)
EACH = 10
"""The number of strings in a text."""

LEVELS = {"debug", "info", "warning", "error"}

SURROGATE = '{"status":"text","position":1,"final":true,"body":{"detected_language":"en","text":"a\\ud800b"}}'


def strings(count: int) -> list[str]:
    """Return a number of strings, the same ones each time."""
    made: list[str] = []

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(STRINGS)
    def make(text: str) -> None:
        made.append(text)

    make()
    while len(made) < count:  # hypothesis stops when it considers all as seen
        made.append(made[len(made) % 97] + made[-1][:20])
    return made[:count]


LIVE = "".join(NASTY)


class Mouth:
    """A backend that answers an utterance whose sound is the number n with the text n, and any other with `LIVE`.

    Before `speak` is set it refuses live utterances, with a nasty reason too, and does not answer the others. The first
    text ends in the middle of a character.
    """

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts
        self.speak = asyncio.Event()
        self._broken = False

    async def __call__(self, call: Call) -> None:
        await call.authenticate()
        await call.hear()
        number, next_one = struct.unpack_from("<HH", call.pcm)
        if number != next_one and not self.speak.is_set():
            call.flow.fail("\x1b[2J\x9b31mno\nerror: \u202enever")
            await call.flush()
            return
        await self.speak.wait()
        if not self._broken:
            self._broken = True
            await call.socket.send(SURROGATE)
            return
        text = self.texts[number] if number == next_one else LIVE
        await call.say(text)
        await call.say(text, final=True)


def acts(data: bytes) -> set[str]:
    """Return the characters that do something and are not the end of a line. The data must be UTF-8."""
    return acting(data.decode()) - {"\n"}


@pytest.mark.promise("P16")
async def test_a_text_is_a_line_and_does_nothing(
    tmp_path: Path, microphone: Microphone, times: Callable[[int, int], int], measured: Callable[..., None]
) -> None:
    count = times(300, 10_000)
    parts = strings(count)
    texts = [" ".join(parts[at : at + EACH]) for at in range(0, count, EACH)]
    mouth = Mouth(texts)
    async with FakeBackend([mouth]) as backend:
        lives = Lives(tmp_path / "0")
        lives.appliance.url = backend.url
        lives.appliance.backend = "encoding: json, api_key: canary-key"
        try:
            await say(lives, mouth, tmp_path)
        finally:
            mouth.speak.set()
            lives.close()
    measured(strings=count, texts=len(texts), acted=0, lines_too_many=0)


async def say(lives: Lives, mouth: Mouth, directory: Path) -> None:
    """Deliver all texts of the backend, and read them from everywhere that they can be read."""
    names = await keep(lives, len(mouth.texts))
    daemon = await asyncio.to_thread(lives.start)
    readers = {option: await listen(lives, directory, *option.split()) for option in ("", "--text")}
    reader, writer = await asyncio.open_unix_connection(str(lives.appliance.socket), limit=1 << 20)
    writer.write(b'{"subscribe": ["#"]}\n')
    await until(lambda: lives.appliance.clients() == len(readers) + 1)
    heard = asyncio.create_task(reader.read())
    await asyncio.to_thread(lives.speaker.connect)
    said = await asyncio.to_thread(lives.speaker.dictate, SPEECH_S)
    await until_failed(lives)
    statuses = [await asyncio.to_thread(lives.appliance.run, "status", *option) for option in ([], ["--json"])]
    mouth.speak.set()
    await asyncio.to_thread(lives.deliver)
    assert await asyncio.to_thread(daemon.end) == 0
    for process, _ in readers.values():
        await process.wait()
    on_socket = await heard
    writer.close()
    files = sorted((lives.appliance.directory / "transcripts").iterdir())  # two, if midnight was in between
    sinks = {
        "files": b"".join(file.read_bytes() for file in files),
        "socket": on_socket,
        "listen": readers[""][1].read_bytes(),
        "listen --text": readers["--text"][1].read_bytes(),
        "status": statuses[0].stdout.encode(),
        "status --json": statuses[1].stdout.encode(),
        "log": daemon.log.read_bytes(),
    }
    assert {name: found for name, data in sinks.items() if (found := acts(data))} == {}
    wanted = {**dict(zip(names, mouth.texts, strict=True)), said.id: LIVE}
    assert {line["id"]: line["text"] for line in records(sinks["files"])} == wanted
    assert len(records(sinks["files"])) == len(wanted)
    for name in ("socket", "listen"):
        finals = [one["payload"] for one in records(sinks[name]) if one.get("topic") == "transcript/final"]
        assert {final["id"]: final["text"] for final in finals} == wanted
        assert len(finals) == len(wanted)
    shown = sinks["listen --text"].decode().splitlines()
    assert len(shown) == sum(bool(text.strip()) for text in wanted.values())
    assert "never" in sinks["status"].decode()
    assert {line.split(":")[0] for line in sinks["log"].decode().splitlines()} <= LEVELS


async def keep(lives: Lives, count: int) -> list[str]:
    """Put utterances of an earlier run into the spool, each with its number as its sound. Returns ids, oldest first."""
    ids = UlidFactory()
    names = [ids.make(n, bytes(10)) for n in range(count)]
    spool = Spool(lives.appliance.spool)
    spool.open()
    for n, name in enumerate(names):
        await spool.keep(Utterance(About(name, 0.0), pcm=struct.pack("<H", n) * 1600, complete=True))
    spool.close()
    return names


async def listen(lives: Lives, directory: Path, *options: str) -> tuple[asyncio.subprocess.Process, Path]:
    """Start `flowpi listen`; return it and the file that it prints to."""
    path = directory / "-".join(("listen", *options))
    command = [sys.executable, "-m", "flowpi", "listen", *options, *lives.appliance.options]
    with path.open("wb") as file:
        return await asyncio.create_subprocess_exec(*command, stdout=file, stderr=subprocess.DEVNULL), path


async def until_failed(lives: Lives) -> None:
    """Wait until the first answer of the backend, a refusal with its reason, is a fault that everybody sees."""
    reader, writer = await asyncio.open_unix_connection(str(lives.appliance.socket), limit=1 << 20)
    writer.write(b'{"subscribe": ["state"]}\n')
    async with asyncio.timeout(PATIENCE_S):
        async for line in reader:
            message = json.loads(line)
            if message.get("topic") == "state" and message["payload"]["faults"]:
                break
    writer.close()


def records(data: bytes) -> list[dict[str, Any]]:
    """Split JSON lines at everything that a program may treat as the end of a line, and decode them."""
    return [json.loads(line) for line in data.decode().splitlines()]
