"""The command `transcripts` of the socket: it pages and searches."""

import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from flowpi.appliance.text_requests import TextRequests
from flowpi.core.ulid import first_ulid
from flowpi.publish import log_search, pages
from flowpi.publish.files import Transcripts
from flowpi.publish.history import History
from flowpi.publish.messages import Final, Problem, Request, TextId
from tests.publish.test_files import DAY_S, NOON, fails, final


def said(number: int, text: str = "") -> Final:
    """A text that was begun `number` minutes after noon."""
    one = final(number, text or f"Number {number}.")
    one.id = first_ulid(round(NOON + number * 60) * 1000)
    return one


class TextHarness:
    def __init__(self, directory: Path) -> None:
        self.transcripts = Transcripts(directory, 30)
        self.requests = TextRequests(History(self.transcripts), self.transcripts)

    async def say(self, *texts: Final, days: int = 0) -> None:
        for text in texts:
            await self.transcripts.append(text, NOON + days * DAY_S)

    async def ask(self, **members: Any) -> Any:
        return await self.requests.handle(Request(command="transcripts", **members))

    async def found(self, **members: Any) -> list[str]:
        return [one.text for one in (await self.ask(**members))["transcripts"]]

    async def pages(self, **members: Any) -> list[list[int]]:
        """Ask for one page after the other, and return the numbers of the texts."""
        result: list[list[int]] = []
        answer: dict[str, Any] = {"more": True}
        while answer["more"]:
            answer = await self.ask(**members)
            result.append([int(one.text.strip("Number .")) for one in answer["transcripts"]])
            last = answer["transcripts"][-1:]
            members["after"] = TextId(last[0].id, last[0].part) if last else None
        return result


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[TextHarness]:
    harness = TextHarness(tmp_path / "transcripts")
    harness.transcripts.open()
    yield harness
    harness.transcripts.close()


@pytest.fixture(params=[1, 1 << 18])
def piece_bytes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    for module in (log_search, pages):
        monkeypatch.setattr(module, "PIECE_BYTES", request.param)
    return int(request.param)


@pytest.mark.usefixtures("piece_bytes")
async def test_pages_in_both_orders(harness: TextHarness) -> None:
    await harness.say(*map(said, range(1, 4)))
    await harness.say(*map(said, range(4, 8)), days=1)
    assert await harness.pages() == [[1, 2, 3, 4, 5, 6, 7]]
    assert await harness.pages(limit=3) == [[1, 2, 3], [4, 5, 6], [7]]
    assert await harness.pages(limit=7) == [[1, 2, 3, 4, 5, 6, 7]]
    assert await harness.pages(order="newest") == [[7, 6, 5, 4, 3, 2, 1]]
    assert await harness.pages(order="newest", limit=2) == [[7, 6], [5, 4], [3, 2], [1]]
    assert await harness.pages(order="newest", limit=7) == [[7, 6, 5, 4, 3, 2, 1]]


async def test_behind_a_text_that_is_not_there(harness: TextHarness) -> None:
    await harness.say(said(1), said(5))
    await harness.say(said(9), days=1)
    between = TextId(said(7).id, 1)
    assert await harness.found(after=between) == ["Number 9."]
    assert await harness.found(after=between, order="newest") == ["Number 5.", "Number 1."]


async def test_what_was_said_and_when(harness: TextHarness) -> None:
    await harness.say(said(1, "Buy milk."), said(2, "Call GRÜßE."), said(3, "More milk"))
    assert await harness.found(text="MILK") == ["Buy milk.", "More milk"]
    assert await harness.found(text="grüße", order="newest") == ["Call GRÜßE."]
    assert await harness.found(text="coffee") == []
    assert await harness.found(since="2023-11-14T12:02:00Z") == ["Call GRÜßE.", "More milk"]
    assert await harness.found(until="2023-11-14T12:02:00Z") == ["Buy milk."]
    assert len(await harness.found(since="2023-11-14", until="2023-11-14")) == 3
    assert await harness.found(since="2023-11-15") == []
    assert await harness.found(until="2023-11-13") == []


async def test_an_answer_is_bounded_in_bytes(harness: TextHarness) -> None:
    await harness.say(*(said(number, "x" * 50_000) for number in range(1, 6)), said(6, "y" * 200_000))
    for order in ("oldest", "newest"):
        answer = await harness.ask(order=order)
        assert answer["more"]
        assert sum(len(one.text) for one in answer["transcripts"]) <= max(pages.PAGE_BYTES, 200_000)
    assert len((await harness.ask(order="newest"))["transcripts"]) == 1  # one that is longer is not left out


async def test_without_a_text_or_a_folder(harness: TextHarness) -> None:
    for order in ("oldest", "newest"):
        assert await harness.ask(order=order) == {"transcripts": [], "more": False}
    harness.transcripts.directory.rmdir()
    for order in ("oldest", "newest"):
        assert await harness.ask(order=order) == {"transcripts": [], "more": False}


@pytest.mark.parametrize("order", ["oldest", "newest"])
async def test_what_is_looked_for_is_casefolded_once(harness: TextHarness, order: str) -> None:
    class Counted(str):
        __slots__ = ()
        folded = 0

        def casefold(self) -> str:
            Counted.folded += 1
            return super().casefold()

    await harness.say(*[said(number) for number in range(1, 11)])
    query = pages.Query(text=Counted("NUMBER 1"), newest=order == "newest")
    found = await pages.find(History(harness.transcripts), harness.transcripts, query)
    assert (len(found.texts), Counted.folded) == (2, 1)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"limit": 0}, "limit is from 1 to 500"),
        ({"limit": 501}, "limit is from 1 to 500"),
        ({"text": "\u00e4" * 512 + "x"}, "text is at most 1 KiB long"),
        ({"order": "up"}, "order is one of: newest, oldest"),
        ({"after": "x"}, "after is the id and the part of a text"),
        ({"after": TextId("x", 1)}, "after is the id and the part of a text"),
        ({"since": "2h"}, "since is RFC 3339, such as 2026-11-29T12:00:00Z, or a day, such as 2026-11-29"),
        (
            {"until": "2023-11-14T12:00:00"},
            "until is RFC 3339, such as 2026-11-29T12:00:00Z, or a day, such as 2026-11-29",
        ),
    ],
)
async def test_what_is_wrong_is_said(harness: TextHarness, members: Any, message: str) -> None:
    assert await harness.ask(**members) == Problem("bad_request", message)


@pytest.mark.parametrize("order", ["oldest", "newest"])
async def test_files_that_cannot_be_read(harness: TextHarness, monkeypatch: pytest.MonkeyPatch, order: str) -> None:
    await harness.say(said(1))
    monkeypatch.setattr("flowpi.publish.log_reader.opened", fails)
    monkeypatch.setattr("flowpi.publish.pages.opened", fails)
    problem = await harness.ask(order=order)
    assert problem.code == "transcripts"
    assert "Input/output error" in problem.message


@pytest.mark.parametrize(("number", "code"), [(errno.EACCES, "not_permitted"), (errno.EIO, "transcripts")])
async def test_what_the_daemon_may_not_read_is_named(
    harness: TextHarness, monkeypatch: pytest.MonkeyPatch, number: int, code: str
) -> None:
    def refuse() -> list[str]:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(harness.transcripts, "names", refuse)
    problem = await harness.ask(order="newest")
    assert problem.code == code
    assert f"{str(harness.transcripts.directory)!r} cannot be read ({os.strerror(number)}): " in problem.message
