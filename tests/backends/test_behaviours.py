"""What follows from each thing that a server may do: the text, or a true sentence, and the text from a healthy server.

Whatever a server does, and however often, what was said is kept, and parked only if a healthy server would not take it
either. So each row goes on for longer than would park an utterance; then a server that works has the same address.
"""

import enum
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Literal

import pytest
from msgspec import Struct

from flowpi.backends.flow import FlowBackend
from flowpi.backends.patience import Patience
from flowpi.config.backends.flow import FlowSettings
from flowpi.core.failover import LAST_RETRY_S
from flowpi.core.hints import Hints
from flowpi.delivery.backlog import MAX_STRIKES
from flowpi.wire.codec import Frame
from flowpi.wire.roles import MAX_UNREADABLE
from tests.backends import behaviours as does
from tests.backends.behaviours import GARBAGE, TEXT, Raw
from tests.backends.fake_backend import FakeBackend, Script
from tests.clock import SkippingLoop
from tests.delivery.test_delivery import DeliveryHarness, speak
from tests.sound import echo, noise, ulid
from tests.waiting import ticks

SOUND = noise(1.5)
LONG = noise(1.0) * 330
"""As long as an utterance gets: more than the kernel's buffers take."""
ASKED_S = 1000
"""The pause of `Retry-After`."""


class Then(enum.Enum):
    """What becomes of the utterance."""

    TEXT = "its text comes"
    COMES = "it is kept, and sent again"
    ASKED = "it is kept, and sent again after the pause that the server asked for"
    TOLD = "it is kept, and sent again after a minute; the user is told to act"
    KEY = "it is kept, and sent again with another key, or when the user says so; the user is told to act"
    PARKED = "it is kept, and sent again when the user says so"


PAUSE_S = {Then.ASKED: ASKED_S, Then.TOLD: LAST_RETRY_S}


Encoding = Literal["msgpack", "json"]


def encoding_of(frame: Frame) -> Encoding:
    return "json" if isinstance(frame, str) else "msgpack"


class Row(Struct, frozen=True):
    """`says`: the text, or the reason why there is none; `N s` in it stands for any time."""

    id: str
    behaviour: Raw | Script
    says: str
    then: Then = Then.COMES
    encoding: Encoding = "msgpack"
    sound: bytes = SOUND


def texts() -> Iterator[Row]:
    """Rows whose text comes, although the server is odd or slow."""
    yield Row("flood-of-pings", does.floods_with_pings, TEXT, Then.TEXT)
    yield Row("flood-of-interims", does.floods_with_texts, TEXT, Then.TEXT)
    unknown = does.interrupts('{"status": "x"}', times=2_000)
    yield Row("2000-unknown-messages", unknown, TEXT, Then.TEXT, "json")
    unreadable = does.interrupts("{", times=MAX_UNREADABLE)
    yield Row("unreadable-interims", unreadable, TEXT, Then.TEXT, "json")
    for name, (make, _) in GARBAGE.items():
        interim = make(False)
        yield Row(f"interim-{name}", does.interrupts(interim), TEXT, Then.TEXT, encoding_of(interim))
    yield Row("upgrade-after-5-s", does.opens_after(5), TEXT, Then.TEXT)
    yield Row("text-after-15-s", does.thinks(15), TEXT, Then.TEXT)
    yield Row("text-after-30-s-with-interims", does.thinks(15, "It was"), TEXT, Then.TEXT)
    yield Row("text-after-150-s-of-150-s", does.thinks(150), TEXT, Then.TEXT, sound=noise(1.0) * 150)
    yield Row("reads-nothing-for-20-s", does.reads_after(20), TEXT, Then.TEXT, sound=LONG)


HTTP = "backend 'house' answered HTTP "
LOGIN = ": check backends.house.url, and whether this network wants a login first"
URL, PATH = ": check backends.house.url", ": check the path in backends.house.url"
KEY, WAIT = ": check the key of backends.house", ": the service asks to wait"
STATUSES = {
    200: (LOGIN, Then.COMES),
    301: (LOGIN, Then.COMES),
    302: (LOGIN, Then.COMES),
    400: (URL, Then.TOLD),
    401: (KEY, Then.KEY),
    402: (": check the account with the service", Then.TOLD),
    403: (KEY, Then.KEY),
    404: (PATH, Then.TOLD),
    405: (URL, Then.TOLD),
    407: ("", Then.COMES),
    408: ("", Then.COMES),
    410: (URL, Then.TOLD),
    413: ("", Then.COMES),
    426: (URL, Then.TOLD),
    429: (WAIT, Then.COMES),
    500: ("", Then.COMES),
    502: ("", Then.COMES),
    503: ("", Then.COMES),
    504: ("", Then.COMES),
    511: ("", Then.COMES),
}


def statuses(version: str) -> Iterator[Row]:
    for status, (hint, then) in STATUSES.items():
        yield Row(f"http-{version}-{status}", does.answers(version, status), f"{HTTP}{status}{hint}", then)
    seconds = f"Retry-After: {ASKED_S}"
    date = "Date: Sun, 29 Nov 2026 12:00:00 GMT", "Retry-After: Sun, 29 Nov 2026 12:16:40 GMT"
    asks = {429: WAIT, 503: ""}
    for status, hint in asks.items():
        for name, headers in (("seconds", (seconds,)), ("date", date)):
            answer = does.answers(version, status, *headers)
            yield Row(f"http-{version}-{status}-{name}", answer, f"{HTTP}{status}{hint}", Then.ASKED)
    detail = does.answers(version, 401, body=b'{"detail": "Token has expired"}')
    yield Row(f"http-{version}-401-detail", detail, f"{HTTP}401 (Token has expired){KEY}", Then.KEY)
    loop = does.answers(version, 307, "Location: /ws")
    yield Row(f"http-{version}-redirect-to-itself", loop, f"{HTTP}307{LOGIN}")


NOT_REACHED = "backend 'house' is not reached"
NO_SERVER = "backend 'house' is no WebSocket server: check scheme (wss?), port and path of backends.house.url"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
CLOSED = "the server closed before the text came"
NO_ANSWER = (
    f"{CLOSED} (no close frame, no answer to the upgrade): if it goes on, check scheme (wss?) and port of "
    "backends.house.url"
)
IN_TIME = f"{NOT_REACHED} (no answer in time): check the network, and backends.house.url"


def no_sessions() -> Iterator[Row]:
    """Rows of servers that do not open a session."""
    yield Row("ssh", does.says(b"SSH-2.0-OpenSSH_9.6\r\n"), NO_SERVER)
    yield Row("mail", does.says(b"220 mail.example ESMTP\r\n"), NO_SERVER)
    yield Row("alert-of-tls", does.says(b"\x15\x03\x01\x00\x02\x02\x46"), NO_SERVER)
    yield Row("binary-and-then-silence", does.is_silent(0, b"\x00\xff"), NO_SERVER)
    yield Row("nothing", does.says(b""), NO_ANSWER)
    yield Row("half-an-answer", does.says(SWITCHING), NO_ANSWER)
    yield Row("reset", does.resets, NO_ANSWER)
    yield Row("silence", does.is_silent(11), IN_TIME)
    yield Row("half-an-answer-and-then-silence", does.is_silent(11, SWITCHING), IN_TIME)
    yield Row("no-key-in-the-upgrade", does.says(SWITCHING + b"\r\n"), NO_SERVER)
    yield Row("endless-headers", does.pours(SWITCHING, b"X: a\r\n", 100_000), NO_SERVER)
    yield Row("header-of-1-mb", does.pours(SWITCHING + b"X: ", b"a" * 10_000, 100), NO_SERVER)
    yield Row("no-session-in-time", does.opens_never, "the backend did not open the session within N s")


def no_texts() -> Iterator[Row]:
    """Rows of servers that open a session and give no text."""
    for name, (make, read) in GARBAGE.items():
        final = make(True)
        says, then = (f"{CLOSED} (code 1000)", Then.COMES) if read is None else (read, Then.TEXT)
        yield Row(f"final-{name}", does.ends_with(final), says, then, encoding_of(final))
    rubbish = does.interrupts("{", times=MAX_UNREADABLE + 1)
    yield Row("rubbish", rubbish, "the server sent no Flow message (not JSON (DecodeError))", encoding="json")
    not_utf_8, too_long = b"\x81\x02\xff\xff", b"\x82\x7f" + (300 << 10).to_bytes(8, "big")
    yield Row("not-utf-8", does.sends_raw(not_utf_8), "the server does not keep to the WebSocket protocol")
    yield Row("frame-of-300-kib", does.sends_raw(too_long), "the server sent a message of more than 256 KiB")
    for code in (1000, 1001, 1006, 1008, 1009, 1011, 1012, 1013, 3000, 4000, 4001, 4999):
        then = {1008: Then.TOLD, 1009: Then.PARKED, 3000: Then.KEY, 4001: Then.KEY}.get(code, Then.COMES)
        how = "no close frame" if code == 1006 else f"code {code}"
        for when, committed in (("before", False), ("after", True)):
            close = does.closes(code, committed=committed)
            yield Row(f"close-{code}-{when}-the-commit", close, f"{CLOSED} ({how})", then)
    wait, key = (does.closes(1008, committed=True, reason=words) for words in ("rate limit", "invalid API key"))
    yield Row("close-1008-rate-limit", wait, f"{CLOSED} (code 1008, rate limit)")
    yield Row("close-1008-key", key, f"{CLOSED} (code 1008, invalid API key)", Then.KEY)
    for words, then in {
        "the quota is used up": Then.COMES,
        "internal": Then.COMES,
        "invalid access_token": Then.KEY,
        "language: this server understands xx": Then.PARKED,
    }.items():
        yield Row(f"refuses-{words.replace(' ', '-')}", does.refuses(words), f"the server refused: {words}", then)
    late = "the backend did not send the text within N s"
    yield Row("text-after-25-s", does.thinks(25), late)
    yield Row("text-after-150-s", does.thinks(150), late)
    yield Row("reads-nothing-for-70-s", does.reads_after(35, 35), "the backend took no audio for N s", sound=LONG)


ROWS = [*statuses("1.0"), *statuses("1.1"), *no_sessions(), *texts(), *no_texts()]


@pytest.fixture
def harness(tmp_path: Path) -> DeliveryHarness:
    return DeliveryHarness(tmp_path / "spool")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
async def test_what_follows(
    skipping_clock: SkippingLoop, harness: DeliveryHarness, unused_tcp_port: int, row: Row
) -> None:
    settings = FlowSettings(f"ws://127.0.0.1:{unused_tcp_port}/ws", encoding=row.encoding)
    pause_s = PAUSE_S.get(row.then, 0)
    async with harness.life(FlowBackend("house", settings, Hints(), Patience())) as delivery:
        audience = harness.audience

        def reasons(what: str) -> list[str]:
            return [re.sub(r"[\d.]+ s$", "N s", words[2]) for words in audience.said if words[0] == what]

        def failed(times: int) -> bool:
            return len(reasons("deferred again")) >= times or bool(reasons("parked"))

        async with does.shows(row.behaviour, unused_tcp_port) as asked:
            speak(delivery, pcm=row.sound)
            await skipping_clock.until(lambda: {"deferred", "delivered"} & {*audience.of(ulid(1))})
            if row.then is Then.TEXT:
                assert (reasons("deferred"), [text.text for text in audience.texts]) == ([], [row.says])
                return
            assert reasons("deferred") == [row.says]
            assert audience.refusals == ([row.says] if row.then in (Then.TOLD, Then.KEY) else [])
            if pause_s or row.then is Then.KEY:
                contacts = asked()
                await ticks(100)
                assert asked() == contacts
            if row.then is not Then.KEY:
                for times in range(1, MAX_STRIKES + 1):
                    skipping_clock.skip(pause_s)
                    await skipping_clock.until(partial(failed, times))
                assert {*reasons("deferred again")} == {row.says}
            (waiting,) = delivery.waiting()
            assert waiting.parked == (row.then is Then.PARKED)
        async with FakeBackend(port=unused_tcp_port):
            if row.then in (Then.KEY, Then.PARKED):
                delivery.retry()
            skipping_clock.skip(pause_s)
            await audience.hears("delivered", ulid(1))
        assert [text.text for text in audience.texts] == [echo(row.sound)]
