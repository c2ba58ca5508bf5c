"""A session over a stream that is no WebSocket: here the service is at its other end in memory."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from flowpi.audio.denoise import speex
from flowpi.audio.utterance import Utterance
from flowpi.backends.patience import Patience
from flowpi.backends.result import Timings
from flowpi.backends.session import TAKEN_BYTES, Session
from flowpi.backends.stream import KEEP_ALIVE_S, Stream, StreamClosed
from flowpi.core.errors import ClosedError, LinkError, NoText, RefusedError
from flowpi.wire.codec import Encoding, Frame
from flowpi.wire.flow import FlowClient, FlowServer
from flowpi.wire.roles import AudioCommitted, AudioReceived, FinalText, SessionRequested
from tests import clock
from tests.sound import beginning, echo, noise, spoken

T = TypeVar("T")
SOUND = noise(0.3)


class MemoryStream:
    """Levers: `think_s`, from the end of the audio to the text; `untaken`: what the service has yet to take of what was
    sent, of which the kernel holds `room` before `send` has to wait; `over`: nothing can be sent any more, though
    frames of before may still come; `take`, `show`, `refuse` and `cut`.

    `kept_alive`: when the session asked for that.
    """

    def __init__(self, think_s: float = 0.0) -> None:
        self.think_s = think_s
        self.untaken = self.room = 0
        self.server = FlowServer(encoding=Encoding.JSON)
        self.pcm = b""
        self.kept_alive: list[float] = []
        self.over = False
        self._frames: asyncio.Queue[Frame | StreamClosed] = asyncio.Queue()
        self._news = asyncio.Event()

    async def send(self, frame: Frame) -> None:
        if self.over:
            raise StreamClosed(None)
        while self.untaken > self.room:
            self._news.clear()
            await self._news.wait()
        for event in self.server.receive(frame):
            match event:
                case SessionRequested():
                    self.server.accept()
                case AudioReceived(pcm):
                    self.pcm += pcm
                case AudioCommitted():
                    asyncio.get_running_loop().call_later(self.think_s, self._answer)
        self._flush()

    async def receive(self) -> Frame:
        frame = await self._frames.get()
        if isinstance(frame, StreamClosed):
            raise frame
        return frame

    def untaken_bytes(self) -> int:
        return self.untaken

    async def keep_alive(self) -> None:
        if self.untaken:
            return
        self.kept_alive.append(asyncio.get_running_loop().time())
        if self.over:
            raise StreamClosed(None)

    async def close(self) -> None: ...

    async def wait_closed(self) -> None: ...

    def take(self, count: int) -> None:
        self.untaken -= count
        self._news.set()

    def show(self, text: str) -> None:
        self.server.partial(text, "en")
        self._flush()

    def refuse(self, reason: str) -> None:
        self.server.fail(reason)
        self._flush()

    def cut(self, code: int | None) -> None:
        self.over = True
        self._frames.put_nowait(StreamClosed(code, "why"))

    def _answer(self) -> None:
        self.server.final(echo(self.pcm), "en")
        self._flush()

    def _flush(self) -> None:
        for frame in self.server.data_to_send():
            self._frames.put_nowait(frame)


def session(stream: Stream, utterance: Utterance, patience: Patience | None = None) -> Session:
    client = FlowClient(encoding=Encoding.JSON)
    return Session(client, stream, utterance, lambda partial: None, Timings(), patience or Patience())


def stage(scene: Callable[[], Awaitable[T]]) -> T:
    async def main() -> T:
        result = await scene()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return result

    return clock.run(main())


def test_the_text() -> None:
    async def scene() -> FinalText:
        stream = MemoryStream()
        text = await session(stream, spoken(SOUND)).run(3200)
        assert stream.kept_alive == []
        return text

    assert stage(scene) == FinalText(echo(SOUND), "en")


@pytest.mark.parametrize("packet_ms", [100, 25])
def test_the_service_hears_what_the_filter_makes_of_the_sound_and_the_log_stays_as_it_was(packet_ms: int) -> None:
    async def scene() -> None:
        stream, utterance = MemoryStream(), spoken(SOUND)
        client = FlowClient(encoding=Encoding.JSON, packet_ms=packet_ms)
        heard = speex()
        await Session(client, stream, utterance, lambda partial: None, Timings(), Patience(), heard).run(
            client.packet_bytes
        )
        assert stream.pcm == speex()(SOUND) != SOUND
        assert utterance.read(0, utterance.length) == SOUND

    stage(scene)


def test_it_keeps_the_stream_alive_while_it_waits_for_the_text() -> None:
    async def scene() -> None:
        stream = MemoryStream(think_s=4 * KEEP_ALIVE_S + 0.5)
        await session(stream, spoken(SOUND)).run(3200)
        assert stream.kept_alive == [KEEP_ALIVE_S * number for number in (1, 2, 3, 4)]

    stage(scene)


def test_while_somebody_speaks_the_audio_does_that() -> None:
    async def scene() -> None:
        stream, utterance = MemoryStream(), beginning()
        running = asyncio.create_task(session(stream, utterance).run(3200))
        for _ in range(30):
            utterance.append(SOUND)
            await asyncio.sleep(0.3)
        assert stream.kept_alive == []
        utterance.finish(9.0)
        assert (await running).text == echo(SOUND * 30)

    stage(scene)


@pytest.mark.parametrize("complete", [False, True])
def test_what_came_before_the_end_counts_although_nothing_can_be_sent(complete: bool) -> None:
    """The sender hears of the end first: the receiver has a frame to read before. `complete`: it waits for the text."""

    async def scene() -> None:
        stream, utterance = MemoryStream(think_s=100), beginning()
        running = asyncio.create_task(session(stream, utterance).run(3200))
        utterance.append(SOUND)
        if complete:
            utterance.finish(1.0)
        await asyncio.sleep(1)
        stream.over = True
        if not complete:
            utterance.append(SOUND)
        await asyncio.sleep(2 * KEEP_ALIVE_S)
        stream.refuse("the quota is used up")
        stream.cut(1011)
        with pytest.raises(RefusedError, match="the quota is used up"):
            await running

    stage(scene)


@pytest.mark.parametrize("code", [None, 1000, 1012])
def test_the_end_before_the_text(code: int | None) -> None:
    async def scene() -> None:
        stream = MemoryStream(think_s=10)
        running = asyncio.create_task(session(stream, spoken(SOUND)).run(3200))
        await asyncio.sleep(1)
        stream.cut(code)
        with pytest.raises(ClosedError) as caught:
            await running
        assert (caught.value.code, caught.value.reason) == (code, "why")

    stage(scene)


def test_no_text_in_time() -> None:
    async def scene() -> None:
        stream = MemoryStream(think_s=100)
        with pytest.raises(NoText, match=r"^the backend did not send the text within 20\.\d s$"):
            await session(stream, spoken(SOUND)).run(3200)

    stage(scene)


def test_no_text_in_time_to_one_that_was_silent_for_long() -> None:
    """A session of yesterday's speech: the service may need as long as it lasted, and says nothing meanwhile."""

    async def scene(think_s: float) -> FinalText:
        return await session(MemoryStream(think_s), spoken(noise(1.0) * 150)).run(3200)

    assert stage(lambda: scene(165)) == FinalText(echo(noise(1.0) * 150), "en")
    with pytest.raises(NoText, match=r"^the backend did not send the text within 170 s$"):
        stage(lambda: scene(175))


def test_a_stream_that_does_not_even_take_the_first_frame() -> None:
    async def scene() -> None:
        stream = MemoryStream()
        stream.untaken = 1
        with pytest.raises(LinkError, match=r"^the backend did not open the session within 10 s$"):
            await session(stream, spoken(SOUND)).open()

    stage(scene)


async def opened(stream: MemoryStream, untaken: int) -> "asyncio.Task[FinalText]":
    """A session of which the service has yet to take so much."""
    utterance = beginning()
    running = asyncio.create_task(session(stream, utterance).run(3200))
    await asyncio.sleep(1)
    stream.untaken = untaken
    utterance.append(SOUND)
    utterance.finish(1.0)
    return running


@pytest.mark.parametrize("every_s", [5, 20, 29])
def test_a_service_that_takes_audio_now_and_then_is_alive(every_s: int) -> None:
    async def scene() -> FinalText:
        stream = MemoryStream()
        running = await opened(stream, 20 * TAKEN_BYTES)
        for _ in range(20):
            await asyncio.sleep(every_s)
            stream.take(TAKEN_BYTES)
        return await running

    assert stage(scene) == FinalText(echo(SOUND), "en")


@pytest.mark.parametrize("taken", [0, 1, TAKEN_BYTES - 1])
def test_a_service_that_takes_no_audio_is_given_up(taken: int) -> None:
    """A few bytes are none: at that rate it would be tomorrow."""

    async def scene() -> None:
        stream = MemoryStream()
        running = await opened(stream, 20 * TAKEN_BYTES)
        await asyncio.sleep(29)
        stream.take(taken)
        await asyncio.sleep(29)
        stream.take(taken)
        with pytest.raises(LinkError, match=r"^the backend took no audio for 30 s$"):
            await running
        assert asyncio.get_running_loop().time() <= 1 + 2 * 30

    stage(scene)


@pytest.mark.parametrize("sign", ["takes", "shows"])
def test_a_service_that_works_on_the_audio_gets_time_for_the_text(sign: str) -> None:
    """Its buffers hold all of the audio, and it is slower than speech."""

    async def scene(signs: int, think_s: float) -> FinalText:
        stream = MemoryStream(think_s)
        stream.untaken = stream.room = signs * TAKEN_BYTES
        running = asyncio.create_task(session(stream, spoken(noise(1.0) * 10)).run(3200))
        for number in range(signs):
            await asyncio.sleep(15)
            if sign == "takes":
                stream.take(TAKEN_BYTES)
            else:
                stream.show(f"it was {number}")
        return await running

    text = FinalText(echo(noise(1.0) * 10), "en")
    assert stage(lambda: scene(signs=6, think_s=100)) == text
    with pytest.raises(NoText, match=r"^the backend did not send the text within 11[012] s$"):
        stage(lambda: scene(signs=6, think_s=115))
    with pytest.raises(NoText, match=r"^the backend did not send the text within 130 s$"):
        stage(lambda: scene(signs=50, think_s=1000))  # ten times as long as the speech, whatever it shows


def test_no_text_in_time_although_not_even_a_ping_goes_out() -> None:
    async def scene() -> None:
        stream = MemoryStream(think_s=1000)
        running = asyncio.create_task(session(stream, spoken(SOUND)).run(3200))
        await asyncio.sleep(1)
        stream.untaken = 1
        with pytest.raises(NoText, match=r"^the backend did not send the text within 20\.\d s$"):
            await running

    stage(scene)


def test_the_same_words_again_are_no_work() -> None:
    async def scene() -> None:
        stream = MemoryStream(think_s=1000)
        running = asyncio.create_task(session(stream, spoken(SOUND)).run(3200))
        while not running.done():
            stream.show("it was")
            await asyncio.sleep(1)
        with pytest.raises(NoText, match=r"^the backend did not send the text within 20\.\d s$"):
            await running

    stage(scene)


@pytest.mark.parametrize("module", ["session", "suki"])
def test_no_dialect_is_bound_to_the_library_of_websockets(module: str) -> None:
    program = f"import sys, flowpi.backends.{module}; sys.exit('websockets' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, cwd=Path(__file__).parents[2]).returncode == 0
