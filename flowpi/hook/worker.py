"""Runs the program for each message, in order; for a text until it is done with, which is noted on the disk.

What a run ends with decides:

    exit code 0       done
    exit code 75      not now: again and again, with growing waits
    not started       the same, because the text is not the cause
    anything else     again, `TRIES` times in all; then the text is given up: noted as refused, and the next one follows

The position follows the run: a kill between the two repeats one text, the other order would lose it. While a text waits
for its next try, nothing is read from the daemon; the texts of that time are in its transcripts.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from flowpi.config.command import CommandSettings
from flowpi.core import topics
from flowpi.core.backoff import Backoff
from flowpi.core.errors import DaemonUnavailable, SinkError
from flowpi.core.safe_text import printable
from flowpi.core.ulid import is_ulid
from flowpi.hook import command
from flowpi.hook.report import SINK
from flowpi.hook.state import HookState
from flowpi.host.logfields import MessageId, fields
from flowpi.peer.feed import Feed, connected
from flowpi.peer.standing import Standing
from flowpi.publish.messages import TextId

log = logging.getLogger(__name__)

TRIES = 3
EXIT_NOT_NOW = 75

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 300.0
"""The bounds of the waits between two tries of a text, see `Backoff`."""

LONGEST_ABSENCE_S = 30.0
"""The same between two connections: a daemon that was started is looked for again soon."""

ABSENT_S = 30.0
"""How long a daemon may be away, as while it is started anew, before the operator should look for it."""

SKIPPED = "skipped by a command"
"""The reason of a text that `skip` gave up."""

LOGGED_LETTERS = 12_000
"""How much of the output is one entry of the log; journald takes no more than 48 KiB."""


class Hook:
    """The program, the connection and the state. `run` is a task; `retry` and `skip` are called on the loop."""

    def __init__(
        self,
        settings: CommandSettings,
        socket: Path,
        state: HookState,
        standing: Standing | None = None,
        *,
        passed_over: frozenset[str] = frozenset(),
        chance: Callable[[], float] = random.random,
    ) -> None:
        """
        Args:
            standing: where to note how the hook is.
            passed_over: the profiles for whose texts the program is not run. They are done with at once.
            chance: returns a random number from 0 to 1, which spreads the waits.
        """
        assert settings.run is not None
        self._standing = standing or Standing()
        self._argv = settings.run
        self._settings = settings
        self._socket = socket
        self._state = state
        self._passed_over = passed_over
        self._chance = chance
        self._feed: Feed | None = None
        self._wake = asyncio.Event()
        self._again = False
        """Whether what was given up is to be tried again."""
        self._blocked = False
        """Whether a text, or a note about one, waits for its next try."""
        self._skip = False
        self._absences = Backoff(FIRST_WAIT_S, LONGEST_ABSENCE_S, chance)
        """The waits before the next connection."""
        self._alarm: asyncio.TimerHandle | None = None
        """What logs that there is no daemon; also when it has done so."""

    def retry(self) -> None:
        """Try now, and once more what was given up."""
        self._again = True
        self._interrupt()

    def skip(self) -> None:
        """Give up the text that waits for its next try; if none does, forget what was given up."""
        self._skip = True
        self._interrupt()

    def _interrupt(self) -> None:
        self._wake.set()
        if self._feed is not None and not self._blocked:
            self._feed.close()  # what it read last is done with, and the rest comes again

    async def run(self) -> None:
        """Run the program for all that comes, until this is cancelled."""
        said = ""
        while True:
            began = asyncio.get_running_loop().time()
            try:
                await self._serve()
            except DaemonUnavailable as error:
                if not self._wake.is_set():
                    log.log(logging.DEBUG if str(error) == said else logging.WARNING, "%s", error)
                    said = str(error)
                self._miss_daemon(error)
            if asyncio.get_running_loop().time() - began > LONGEST_ABSENCE_S:
                self._absences.reset()
                said = ""
            await self._pause(self._absences.next_s())

    async def _serve(self) -> None:
        """Serve one connection until it is lost. Raises DaemonUnavailable."""
        if self._skip:
            self._skip = False
            await self._durably(self._state.forget)
        async with connected(self._socket) as feed:
            after = None
            if self._settings.follows_texts:
                if self._state.position is None:
                    # Noted at once: a restart before the first text would otherwise begin at a later one.
                    first = await feed.first_position(SINK)
                    await self._durably(partial(self._state.passed, first))
                after = self._state.position
                if self._again:
                    await self._try_refused(feed)
                    self._again = False  # not before: a daemon that goes away meanwhile is asked once more
            await feed.subscribe(self._settings.filters, after)
            self._found_daemon()
            log.info("the command follows %s", ", ".join(self._settings.filters))
            self._feed = feed
            try:
                while True:
                    line, message = await feed.read()
                    self._absences.reset()
                    if message.topic == topics.FINAL:
                        await self._deliver(line, message.payload)
                        if self._again:  # asked for while this text was tried: it needs a connection without messages
                            self._wake.set()
                            return
                    elif message.topic and not self._passes(message.payload):
                        await self._run(line, message.topic, message.payload)
            finally:
                self._feed = None

    async def _deliver(self, line: bytes, payload: Any) -> None:
        """Run the program for a text until it is done with, unless it is: the daemon may send one again."""
        text = msgspec.convert(payload, TextId)
        if self._state.has_passed(text):
            log.debug("a text came again", extra=_about(text))
            return
        reason = None if self._passes(payload) else await self._tried(line, payload, text)
        if reason is not None:
            event = MessageId.COMMAND_GAVE_UP
            log.error("the command %s: this text is given up", reason, extra=_about(text, event))
            await self._durably(partial(self._state.refuse, text, reason))
        await self._durably(partial(self._state.passed, text))
        self._skip = False  # it was meant for this text

    async def _tried(self, line: bytes, payload: Any, text: TextId) -> str | None:
        """Run the program until it has done its work, and return None; or return why the text is given up."""
        waits, failures, level = Backoff(FIRST_WAIT_S, LONGEST_WAIT_S, self._chance), 0, logging.WARNING
        while (outcome := await self._run(line, topics.FINAL, payload)).code != 0:
            failures += not may_succeed_later(outcome)
            self._standing.failed(f"the command {describe(outcome)}")
            if failures == TRIES:
                return describe(outcome)
            wait_s = waits.next_s()
            event = MessageId.COMMAND_NOT_STARTED if outcome.why else None
            log.log(level, "the command %s: again in %.0f s", describe(outcome), wait_s, extra=_about(text, event))
            if await self._waited_in_vain(wait_s):
                return SKIPPED
            level = logging.INFO
        return None

    async def _try_refused(self, feed: Feed) -> None:
        """Run the program once for each text that was given up. Raises DaemonUnavailable."""
        for one in self._state.refused.texts:
            payload = await feed.text(one.text_id)
            if payload is None:
                about = _about(one.text_id, MessageId.TEXTS_EXPIRED)
                log.warning("a text that was given up is not in the transcripts any more", extra=about)
            elif not self._passes(payload):
                line = msgspec.json.encode({"topic": topics.FINAL, "payload": payload}) + b"\n"
                outcome = await self._run(line, topics.FINAL, payload)
                if outcome.code != 0:
                    await self._durably(partial(self._state.refuse, one.text_id, describe(outcome)))
                    continue
            await self._durably(partial(self._state.accept, one.text_id))

    def _passes(self, payload: Any) -> bool:
        """Whether the program is not to be run for a message, because of the profile of its text."""
        return isinstance(payload, dict) and "text" in payload and payload.get("profile") in self._passed_over

    async def _run(self, line: bytes, topic: str, payload: Any) -> command.Outcome:
        """Run the program once, and log what it printed."""
        said: dict[str, Any] = payload if isinstance(payload, dict) else {}
        about = {
            "FLOWPI_TOPIC": topic,
            "FLOWPI_ID": str(said.get("id") or ""),
            "FLOWPI_PART": str(said.get("part") or ""),
            "FLOWPI_LATE": "true" if said.get("late") is True else "false",
            "FLOWPI_PROFILE": str(said.get("profile") or ""),
        }
        began = asyncio.get_running_loop().time()
        outcome = await command.run(self._argv, line, about, self._settings.timeout_s)
        extra = _about(msgspec.convert(said, TextId)) if topic == topics.FINAL else {}
        _log_output(outcome, extra)
        if outcome.code == 0 or topic != topics.FINAL:
            level = logging.INFO if outcome.code == 0 else logging.WARNING
            took_s = asyncio.get_running_loop().time() - began
            log.log(level, "%s: the command %s after %.1f s", topic, describe(outcome), took_s, extra=extra)
        return outcome

    async def _durably(self, write: Callable[[], Awaitable[None]]) -> None:
        """Write until the disk accepts it: only then the next message may be read."""
        waits = Backoff(FIRST_WAIT_S, LONGEST_WAIT_S, self._chance)
        while True:
            try:
                await write()
                self._standing.works()
                return
            except SinkError as error:
                log.error("%s", error)
                self._standing.failed(str(error))
            if await self._waited_in_vain(waits.next_s()):
                with contextlib.suppress(SinkError):  # that too many are given up is one of the reasons
                    await self._state.forget()

    async def _waited_in_vain(self, wait_s: float) -> bool:
        """Wait for the next try. Return whether there is to be none, because of `skip`."""
        self._blocked = True
        try:
            await self._pause(wait_s)
        finally:
            self._blocked = False
        skip, self._skip = self._skip, False
        return skip

    def _miss_daemon(self, error: DaemonUnavailable) -> None:
        """Log an event for the operator in `ABSENT_S`, unless the daemon is found by then; once for each absence."""
        if self._alarm is None:
            event = fields(MessageId.DAEMON_ABSENT)
            self._alarm = asyncio.get_running_loop().call_later(
                ABSENT_S, lambda: log.error("found no daemon for %.0f s: %s", ABSENT_S, error, extra=event)
            )

    def _found_daemon(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    async def _pause(self, wait_s: float) -> None:
        """Wait, but not longer than until `retry` or `skip`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._wake.wait()
        self._wake.clear()


def may_succeed_later(outcome: command.Outcome) -> bool:
    """Whether the text is not the cause that a run failed."""
    return outcome.code == EXIT_NOT_NOW or bool(outcome.why)


def describe(outcome: command.Outcome) -> str:
    """Return how a run ended, as what follows "the command"."""
    if outcome.why:
        return f"cannot be started ({outcome.why}): `systemctl edit flowpi-hook` has to allow it by ExecPaths="
    if outcome.timed_out:
        return "did not end in time"
    if outcome.code is None:
        return "does not end"
    return f"was ended by signal {-outcome.code}" if outcome.code < 0 else f"ended with exit code {outcome.code}"


def _log_output(outcome: command.Outcome, extra: dict[str, Any]) -> None:
    """Log what a run printed, in few entries: it may be thousands of lines."""
    lines = outcome.output.decode(errors="replace").splitlines()
    output = "\n".join(printed for line in lines if (printed := printable(line, None)).strip())
    for at in range(0, len(output), LOGGED_LETTERS):
        log.info("the command said: %s", output[at : at + LOGGED_LETTERS], extra=extra)
    if outcome.more:
        log.info("the command said %d bytes more", outcome.more, extra=extra)


def _about(text: TextId, event: MessageId | None = None) -> dict[str, Any]:
    return fields(event, part=(text.id, text.part) if is_ulid(text.id) else None)
