"""How long a text waits for a language model, by a clock that jumps."""

import asyncio
import logging

import pytest

from flowpi.config.text import RewriteSettings
from flowpi.core.errors import FlowpiError
from flowpi.core.text.rewriting import Message
from flowpi.editing.rewriter import MOST_FAILURES, REST_S, Rewriter
from tests.clock import JumpingLoop

SAID = "yes canary it is"


class Chat:
    """A server that answers `after_s` with `answer`, or with an error if that is None."""

    def __init__(self) -> None:
        self.after_s = 0.0
        self.answer: str | None = "Yes, canary, it is."
        self.asked = 0

    async def ask(self, messages: list[Message]) -> str:
        self.asked += 1
        await asyncio.sleep(self.after_s)
        if self.answer is None:
            raise FlowpiError("it answers HTTP 500")
        return self.answer

    async def close(self) -> None: ...


@pytest.fixture
def chat() -> Chat:
    return Chat()


@pytest.fixture
def rewriter(chat: Chat) -> Rewriter:
    return Rewriter(RewriteSettings("http://server.example/v1", "tiny"), chat)


async def ask(rewriter: Rewriter, *, late: bool = False) -> str | None:
    return await rewriter.rewritten(SAID, None, late=late)


async def test_a_text_waits_for_two_seconds_and_no_longer(
    rewriter: Rewriter, chat: Chat, jumping_clock: JumpingLoop
) -> None:
    chat.after_s = 1.9
    assert await ask(rewriter) == "Yes, canary, it is."
    assert jumping_clock.time() == pytest.approx(1.9)
    chat.after_s = 1000
    assert await ask(rewriter) is None
    assert jumping_clock.time() == pytest.approx(3.9)


async def test_who_waits_does_so_three_times_in_a_row_at_most(
    rewriter: Rewriter, chat: Chat, jumping_clock: JumpingLoop
) -> None:
    chat.after_s = 1000
    for _ in range(MOST_FAILURES + 5):
        assert await ask(rewriter) is None
    assert chat.asked == MOST_FAILURES
    assert jumping_clock.time() == pytest.approx(2 * MOST_FAILURES)
    await asyncio.sleep(REST_S)
    chat.after_s = 0
    assert await ask(rewriter)
    chat.after_s = 1000
    for _ in range(MOST_FAILURES):
        assert await ask(rewriter) is None
    assert chat.asked == 2 * MOST_FAILURES + 1


async def test_a_late_text_waits_only_for_a_server_that_answers(
    rewriter: Rewriter, chat: Chat, jumping_clock: JumpingLoop
) -> None:
    chat.answer = None
    for _ in range(200):
        assert await ask(rewriter, late=True) is None
    assert chat.asked == 1
    chat.answer = "Yes, canary, it is."
    assert await ask(rewriter) == "Yes, canary, it is."  # somebody who speaks finds out that it is back
    assert await ask(rewriter, late=True) == "Yes, canary, it is."
    chat.answer = "No."
    assert await ask(rewriter, late=True) is None
    assert await ask(rewriter, late=True) is None
    assert chat.asked == 5  # an answer that is of no use is one


async def test_the_first_failure_of_a_streak_is_told_and_its_end(
    rewriter: Rewriter, chat: Chat, jumping_clock: JumpingLoop, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    chat.answer = None
    for _ in range(2):
        await ask(rewriter)
    chat.answer = "Yes, canary, it is."
    await ask(rewriter)
    assert [record.getMessage() for record in caplog.records] == [
        "texts are not rewritten by server.example: it answers HTTP 500",
        "server.example answers again",
    ]


async def test_a_mistake_is_told_without_its_words(
    rewriter: Rewriter, chat: Chat, jumping_clock: JumpingLoop, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(messages: list[Message]) -> str:
        raise ValueError(messages)

    chat.ask = fails  # type: ignore[method-assign]
    assert await ask(rewriter) is None
    assert "internal error (ValueError)" in caplog.text
    assert "canary" not in caplog.text


async def test_the_loop_goes_on_while_an_answer_is_compared(rewriter: Rewriter, chat: Chat) -> None:
    turns, before = 0, 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async def answered(messages: list[Message]) -> str:
        nonlocal before
        await asyncio.sleep(0)
        before = turns
        return text

    text = " ".join(f"word{number}" for number in range(2000))
    chat.ask = answered  # type: ignore[method-assign]
    working = asyncio.create_task(others())
    assert await rewriter.rewritten(text, None, late=False) == text
    working.cancel()
    assert turns > before + 10
