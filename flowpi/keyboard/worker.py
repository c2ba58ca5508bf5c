"""Types each final text, in order and at most once, and reports what it did not type.

Files repeat a text after a crash; a keyboard must not. So a text is marked on the disk before its first key. What was
interrupted is not resumed, nothing is replayed after a restart, and no text is typed when the cursor is elsewhere: none
that came late, none that is older than `max_age_s` when its turn comes. All of them are in the transcripts.
"""

import asyncio
import contextlib
import datetime
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from flowpi.config.keyboard import KeyboardSettings
from flowpi.core import topics
from flowpi.core.backoff import Backoff
from flowpi.core.errors import DaemonUnavailable, KeyboardError, LayoutError, SinkError
from flowpi.core.typing.layout import Layout
from flowpi.core.typing.strokes import Stroke, Typed
from flowpi.core.ulid import is_ulid
from flowpi.host.logfields import MessageId, fields
from flowpi.keyboard.attention import Attention
from flowpi.keyboard.marks import Marks
from flowpi.keyboard.output import message
from flowpi.keyboard.procedure import Reason
from flowpi.keyboard.typist import Typist
from flowpi.peer.feed import connected
from flowpi.peer.standing import Standing
from flowpi.publish.messages import Final, SinkReport, TextId, Untyped

log = logging.getLogger(__name__)

SINK = "keyboard"
"""The name of the typist among the sinks of the daemon, as that of its settings in `publish`."""

FILTERS = (topics.FINAL, topics.STATE, topics.BUTTON)

MOST_WAITING = 32
"""How many texts may wait. Nobody dictates so many in the time that one is typed; a newer one is not typed."""

MOST_CHARACTERS = 50_000
"""The longest text that is typed, which takes half an hour: more than anybody says at a time, and not too much for the
memory of a small machine."""

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0
"""The bounds of the waits between two connections, see `Backoff`."""

LATE, CANCELLED, FULL, LONG, DISK = "late", "cancelled", "full", "long", "disk"
"""The reasons of `Untyped` besides those of the fault."""


def boot_clock() -> float:
    """Return the seconds since the boot, those of a suspended machine included: texts age in them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Waiting(msgspec.Struct, frozen=True):
    """A text that waits for its turn. `due`: when it is too old, by the clock `Attention.quiet_s`."""

    id: TextId
    text: str
    due: float


class Keyboard:
    """The connection, the texts that wait, and the typist. `run` is a task; the rest is called on the loop."""

    def __init__(
        self,
        settings: KeyboardSettings,
        socket: Path,
        marks: Marks,
        standing: Standing,
        typist: Typist,
        layout: Callable[[], Layout],
        *,
        passed_over: frozenset[str] = frozenset(),
        clock: Callable[[], float] = boot_clock,
    ) -> None:
        """
        Args:
            standing: where to note how the keyboard is.
            layout: returns the layout of the computer; raises LayoutError.
            passed_over: the profiles whose texts are not typed.
        """
        self._settings = settings
        self._socket = socket
        self._marks = marks
        self._standing = standing
        self._typist = typist
        self._layout = layout
        self._passed_over = passed_over
        self._clock = clock
        self._attention = Attention()
        self._waiting = deque[Waiting]()
        self._news = asyncio.Event()
        """Set when a text has come, or somebody has begun or ended a dictation, or has cancelled."""
        self._cancelled = False
        """Whether the text that is being typed is to end at the next stroke."""
        self._untyped: Untyped | None = None
        self._caps_lock = False

    def report(self) -> SinkReport:
        """Describe the keyboard to the daemon."""
        standing = self._standing
        return SinkReport(
            sink=SINK,
            state="failing" if standing.failing else "open",
            error=standing.error,
            error_at=standing.error_at,
            untyped=self._untyped,
            caps_lock=self._caps_lock,
        )

    def cancel(self) -> None:
        """Stop typing at the next stroke, and forget the texts that wait."""
        self._cancelled = True
        while self._waiting:
            self._note(self._waiting.popleft(), CANCELLED)
        self._news.set()

    def retry(self) -> None:
        """Look now whether texts can be typed."""
        self._typist.owes = True
        self._news.set()

    def skip(self) -> None:
        """Forget what was not typed."""
        self._untyped = None
        self._standing.news.set()

    async def run(self) -> None:
        """Type all texts that come, until this is cancelled; then no key is down."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen(), name="listen")
                tasks.create_task(self._work(), name="type")
        finally:
            self._typist.close()

    # What the daemon says.

    async def _listen(self) -> None:
        waits, said = Backoff(FIRST_WAIT_S, LONGEST_WAIT_S, random.random), ""
        while True:
            try:
                async with connected(self._socket) as feed:
                    await feed.subscribe(FILTERS, None)  # nothing of before: nobody waits for that at the cursor
                    log.info("texts are typed from now on")
                    while True:
                        _, line = await feed.read()
                        waits.reset()
                        said = ""
                        self._hear(line.topic, line.payload)
            except DaemonUnavailable as error:
                log.log(logging.DEBUG if str(error) == said else logging.WARNING, "%s", error)
                said = str(error)
            self._attention.forget(self._clock())
            self._news.set()
            await asyncio.sleep(waits.next_s())

    def _hear(self, topic: str, payload: Any) -> None:
        if not isinstance(payload, dict):
            return
        if topic == topics.STATE:
            self._attention.state(str(payload.get("state")), self._clock())
        elif topic == topics.BUTTON:
            profile = payload.get("profile")
            self._attention.button(str(payload.get("kind")), str(profile or ""), self._clock())
        elif topic == topics.FINAL:
            try:
                final = msgspec.convert(payload, Final)
            except msgspec.ValidationError as error:  # of a daemon of another version
                log.error("a text of the daemon is not typed: %s", error)
            else:
                self._take(final)
        self._news.set()

    def _take(self, final: Final) -> None:
        """Let a text wait for its turn, unless it is not to be typed."""
        text = TextId(final.id, final.part)
        if final.profile in self._passed_over and final.profile is not None:
            return
        if self._marks.has(text) or any(one.id == text for one in self._waiting):
            log.debug("a text came again", extra=_about(text))
            return
        age_s = _age_s(final, time.time())
        due = self._attention.quiet_s(self._clock()) + self._settings.max_age_s - age_s
        waiting = Waiting(text, final.text, due)
        if final.late or final.final_after_s is None:
            self._note(waiting, LATE)
        elif len(self._waiting) >= MOST_WAITING:
            self._note(waiting, FULL)
        elif len(final.text) > MOST_CHARACTERS:
            self._note(waiting, LONG)
        else:
            self._waiting.append(waiting)

    # What is typed.

    async def _work(self) -> None:
        await self._look()
        while True:
            self._news.clear()
            if self._waiting and not self._attention.is_dictating:
                self._cancelled = False
                await self._turn(self._waiting.popleft())
            elif self._typist.owes:
                await self._settle()
            else:
                await self._wait_for_news()

    async def _wait_for_news(self) -> None:
        """Wait for news, or until a button has been held for too long to be believed."""
        deadline = self._attention.next_deadline()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if deadline is None else deadline - self._clock()):
                await self._news.wait()
        self._attention.handle_deadline(self._clock())

    async def _look(self) -> None:
        """Note at the start whether texts can be typed."""
        try:
            self._layout()
            await self._typist.ask()
            self._standing.works()
        except (KeyboardError, LayoutError) as error:
            self._fail(error)

    async def _settle(self) -> None:
        """Wait until the computer has taken the release that is owed, or there is something else to do."""
        settling = asyncio.ensure_future(self._typist.settled())
        news = asyncio.ensure_future(self._news.wait())
        try:
            await asyncio.wait({settling, news}, return_when=asyncio.FIRST_COMPLETED)
            if settling.done():
                settling.result()
                await self._look()
        finally:
            for task in (settling, news):
                task.cancel()
            await asyncio.gather(settling, news, return_exceptions=True)

    async def _turn(self, waiting: Waiting) -> None:
        """Type a text whose turn it is."""
        if self._marks.has(waiting.id):  # it came again before it was marked
            return
        if self._is_due(waiting):
            self._note(waiting, LATE)
            return
        try:
            typed = self._spell(waiting.text)
            await self._marks.add(waiting.id)
        except (KeyboardError, LayoutError) as error:
            self._note(waiting, self._fail(error))
            return
        except SinkError as error:
            log.error("%s", error)
            self._standing.failed(str(error))
            self._note(waiting, DISK)
            return
        began = asyncio.get_running_loop().time()
        reason, count = await self._type(waiting, typed.characters())
        if reason is not None:
            self._note(waiting, reason, count, len(typed.ends))
            return
        took_s = asyncio.get_running_loop().time() - began
        dropped = f", {typed.dropped} left out" if typed.dropped else ""
        log.info("typed %d characters in %.1f s%s", count, took_s, dropped, extra=_about(waiting.id))
        self._standing.works()

    def _spell(self, text: str) -> Typed:
        """Return the strokes of a text. Raises KeyboardError and LayoutError."""
        settings, layout = self._settings, self._layout()
        self._caps_lock = self._typist.caps_lock()
        return layout.strokes(
            text + settings.append,
            caps_lock=self._caps_lock,
            newline=settings.newline,
            unicode=settings.unicode,
            host=settings.host,
        )

    async def _type(self, waiting: Waiting, characters: Sequence[Sequence[Stroke]]) -> tuple[str | None, int]:
        """Type a text, but not while somebody dictates. Return why it was not typed to its end, and how much was."""
        done = 0
        while not self._cancelled:
            try:
                ended = await self._typist.type(characters[done:], self._goes_on)
            except KeyboardError as error:
                return self._fail(error), done
            done += ended.characters
            if ended.reason is not None:
                return self._fail(KeyboardError(ended.reason, *message(ended.reason))), done
            if done == len(characters):
                return None, done
            while self._attention.is_dictating and not self._cancelled:
                self._news.clear()
                await self._wait_for_news()
            if self._is_due(waiting):
                return LATE, done
        return CANCELLED, done

    def _goes_on(self) -> bool:
        return not self._cancelled and not self._attention.is_dictating

    def _is_due(self, waiting: Waiting) -> bool:
        return self._attention.quiet_s(self._clock()) > waiting.due

    def _fail(self, error: KeyboardError | LayoutError) -> str:
        """Note that nothing can be typed now, and return the reason."""
        if isinstance(error, KeyboardError):
            reason: str = error.reason
            self._typist.owes = True  # so the device is looked for, and the fault ends with what caused it
        else:
            reason = Reason.LAYOUT
        if not self._standing.failing:
            log.warning("%s", error)
        self._standing.failed(f"{reason}: {error}")
        return reason

    def _note(self, waiting: Waiting, reason: str, typed: int = 0, of: int | None = None) -> None:
        """Report that a text was not typed to its end."""
        of = len(waiting.text) if of is None else of
        about = _about(waiting.id, MessageId.NOT_TYPED)
        log.warning("typed %d of %d characters: %s", typed, of, reason, extra=about)
        self._untyped = Untyped(waiting.id.id, waiting.id.part, typed, of, reason)
        self._standing.news.set()


def _age_s(final: Final, now: float) -> float:
    """Return how long ago a text was made, by the clock of the day; a text from the future is new."""
    try:
        started = datetime.datetime.fromisoformat(final.started_at).timestamp()
    except ValueError:
        return 0.0
    return max(0.0, now - started - final.duration_s - (final.final_after_s or 0.0))


def _about(text: TextId, event: MessageId | None = None) -> dict[str, Any]:
    return fields(event, part=(text.id, text.part) if is_ulid(text.id) else None)
