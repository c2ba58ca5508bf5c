"""The sinks that are processes of their own, such as `flowpi hook`, as the daemon sees them.

Such a process is a client of the socket with a position of its own, which decides what it does next. It reports that
position, and how it is, and the daemon keeps a copy (`peer_cursor.py`): so the transcripts hold the texts that it still
has to take, and it is counted and shown as the sinks of the daemon are. The copy may lag behind the truth and never
leads, because a report comes after the position is on the disk of the process.

While a report waits for its answer, the process is there (`presence.py`). The answer is how it is asked to do
something.
"""

import asyncio
import contextlib
import logging
import os
import pwd
from collections.abc import Callable, Mapping
from typing import NamedTuple

from msgspec import UNSET, structs

from flowpi.config.schema import Config
from flowpi.core.errors import SinkAbsentError, SinkError
from flowpi.core.faults import KEYBOARD, SINK_FAMILY, UNDELIVERED_FAMILY
from flowpi.core.safe_text import printable
from flowpi.core.ulid import is_ulid
from flowpi.publish.cursor import Behind
from flowpi.publish.feeder import Outlet, State
from flowpi.publish.messages import ParkedText, Problem, SinkPayload, SinkReport
from flowpi.publish.peer_cursor import PeerCursor
from flowpi.publish.presence import Presence, PresenceWatch

log = logging.getLogger(__name__)

RETRY, SKIP, CANCEL, REPORT = "retry", "skip", "cancel", "report"
"""What a process is asked to do. `CANCEL`: to stop with what a person sees happen. `REPORT`: to report once more."""


class RemoteKind(NamedTuple):
    """A row of the table.

    Attributes:
        follows_texts: returns whether the process takes texts, by the configuration; None: it is not configured.
        service: the name of its unit and of the user that the unit runs as.
        program: what runs as that service.
        fault: the code of the fault that it does not work.
        cancels: whether a person can stop what it does, by `record cancel`.
    """

    follows_texts: Callable[[Config], bool | None]
    service: str
    program: str
    fault: str
    cancels: bool = False


def _command(config: Config) -> bool | None:
    command = config.publish.command
    return None if command.run is None else command.follows_texts


def _keyboard(config: Config) -> bool | None:
    return None if config.publish.keyboard.kind == "none" else False  # a text of before must not be typed


REMOTES: Mapping[str, RemoteKind] = {
    "command": RemoteKind(_command, "flowpi-hook", "flowpi hook", f"{SINK_FAMILY}command"),
    "keyboard": RemoteKind(_keyboard, "flowpi-keyboard", "flowpi keyboard", KEYBOARD, cancels=True),
}
"""The table of sinks that are processes of their own, by the name of the sink."""


class RemoteSink:
    """What is known of one process. Made on the event loop, where all methods are called."""

    def __init__(
        self,
        name: str,
        kind: RemoteKind,
        outlet: Outlet,
        *,
        follows_texts: bool,
        passed_over: frozenset[str] = frozenset(),
    ) -> None:
        """`follows_texts`: whether texts wait for it, but for those of the profiles that are `passed_over`."""
        self._name = name
        self._kind = kind
        self._outlet = outlet
        self._code = kind.fault
        self._cursor: PeerCursor | None = None
        if follows_texts:
            path = outlet.positions / f"{name}.position"
            self._cursor = PeerCursor(path, outlet.transcripts, self._cursor_changed, passed_over=passed_over)
        self._report: SinkReport | None = None
        """The last report since the start of the daemon."""
        self._turn = asyncio.Lock()
        self._waiting: asyncio.Future[str | None] | None = None
        """What answers the report that waits."""
        self._next: str | None = None
        """What to ask for as soon as a report waits."""
        self._presence = PresenceWatch(self._texts_wait, self._presence_changed)
        self._closed = False

    @property
    def is_away(self) -> bool:
        """Whether the process has not been there for so long that texts should not wait for it."""
        return self._presence.is_away

    async def open(self) -> None:
        """Note where its texts begin, if that is not known yet, and expect it from now on."""
        if self._cursor is not None:
            try:
                await self._outlet.lock_positions()
                await self._cursor.open()
            except SinkError as error:  # what it reports first is the position then
                log.warning("%s: %s", self._code, error)
        self._show()
        self._presence.expect()

    def close(self) -> None:
        """Hold no texts for it any more."""
        self._closed = True
        if self._cursor is not None:
            self._cursor.close()
        self._presence.close()
        self._answer(REPORT)  # it may be configured anew

    # What the process says.

    async def may_report(self, user: int | None) -> bool:
        """Return whether a process of a user may report: one of the service, of the daemon's user, or of root.

        Others of the group may run the same program for themselves, with a position of their own.
        """
        if user in (0, os.geteuid()):
            return True
        # On a thread: the database of users may be another machine, which does not answer.
        return user is not None and user == await asyncio.to_thread(_number_of, self._kind.service)

    async def report(self, report: SinkReport) -> Problem | None:
        """Take over what the process reports, the position durably. Return what is wrong with it; then nothing is."""
        if report.last is not None and not is_ulid(report.last.id):
            return Problem("bad_request", "report.last is the id and the part of a text")
        async with self._turn:
            try:
                if self._cursor is not None and not self._closed:  # else `wait` asks for another report
                    await self._outlet.lock_positions()
                    if report.last is not None and not await self._cursor.adopt(report.last):
                        return Problem("no_such_text", f"there is no text {report.last.id}, part {report.last.part}")
                    if self._report is None or report.parked != self._report.parked:
                        await self._cursor.set_parked(report.parked)
            except SinkError as error:
                return Problem("transcripts", str(error))
            if not self._closed:
                self._report = report
                self._presence.heard()
        return None

    async def wait(self) -> str | None:
        """Wait until the process is to do something, and return what; None if it reports again meanwhile.

        As long as this waits, the process is there. Cancelled when it is gone.
        """
        if self._closed:
            return REPORT
        self._answer(None)
        if self._next is not None:
            asked, self._next = self._next, None
            return asked
        waiting: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._waiting = waiting
        self._presence.arrived()
        try:
            return await waiting
        finally:
            if self._waiting is waiting:
                self._waiting = None
                self._presence.left()

    # What others ask for.

    async def payload(self) -> SinkPayload:
        """Describe the sink."""
        cursor, report, behind = self._cursor, self._report, Behind(0, None)
        if cursor is not None:
            with contextlib.suppress(SinkError):  # that disk has a fault of its own
                behind = await cursor.behind()
        state, error, error_at = State.OPENING, None, None
        if report is not None:
            error, error_at = report.error and printable(report.error), report.error_at
        if self._closed:
            state = State.CLOSED
        elif self._presence.now is Presence.MISSED:
            state, error, error_at = State.FAILING, self._absent, None
        elif report is not None and not self.is_away:
            state = State(report.state)
        return SinkPayload(
            name=self._name,
            state=state,
            last=cursor.last if cursor else None,
            waiting=behind.waiting,
            oldest_at=behind.oldest_at,
            error=error,
            error_at=error_at,
            parked=len(cursor.parked.texts) if cursor else 0,
            missed=cursor.parked.missed if cursor else 0,
            untyped=(report and report.untyped) or UNSET,
            caps_lock=(report and report.caps_lock) or UNSET,
        )

    def parked(self) -> list[ParkedText]:
        """Return the texts that the process gave up."""
        texts = self._cursor.parked.texts if self._cursor else ()
        return [ParkedText(self._name, one.id, one.part, one.reason) for one in texts]

    def retry(self) -> None:
        """Ask the process to try now, and once more what it gave up. Raises SinkAbsentError if it is not there."""
        self._ask(RETRY)

    def cancel(self) -> None:
        """Ask the process, if it is there and can, to stop with what it does."""
        if self._kind.cancels:
            self._answer(CANCEL)

    async def skip(self) -> int:
        """Ask the process to give up the text at which it fails; if there is none, to forget those that it gave up.

        Returns:
            The number of texts.

        Raises:
            SinkAbsentError: it is not there.
            SinkError: the disk does not accept that.
        """
        failing = self._report is not None and self._report.state == "failing"
        self._ask(SKIP)
        if failing or self._cursor is None:
            return 1 if failing else 0
        count = len(self._cursor.parked.texts) + self._cursor.parked.missed
        await self._cursor.forget()
        if self._report is not None:  # should the process not forget them, they are noted again
            self._report = structs.replace(self._report, parked=[])
        self._show()
        return count

    def _ask(self, what: str) -> None:
        """Ask the process for something, or as soon as it is back if it was there a moment ago."""
        if self._waiting is None and (self.is_away or self._report is None):
            hint = f"sudo systemctl restart {self._kind.service}"
            raise SinkAbsentError(f"`{self._kind.program}` does not run, or does not report", hint)
        if not self._answer(what):
            self._next = what

    def _answer(self, what: str | None) -> bool:
        """Answer the report that waits, and return whether there is one."""
        waiting = self._waiting
        if waiting is None or waiting.done():
            return False
        waiting.set_result(what)
        return True

    async def _texts_wait(self) -> bool:
        with contextlib.suppress(SinkError):  # that disk has a fault of its own
            return self._cursor is not None and (await self._cursor.behind()).waiting > 0
        return False

    def _presence_changed(self) -> None:
        if self.is_away:
            self._next = None  # it was meant for now: days later, `skip` would give up another text
        self._show()

    # What is said about it.

    @property
    def _absent(self) -> str:
        unit = self._kind.service
        return f"`{self._kind.program}` does not run, or does not report: `sudo systemctl restart {unit}`"

    def _cursor_changed(self) -> None:
        """There is another text, or some have expired."""
        self._presence.expect()
        self._show()

    def _show(self) -> None:
        """Raise the faults that stand, and clear the others."""
        if self._closed:
            return
        report = self._report
        if self._presence.now is Presence.MISSED:
            self._outlet.fault(self._code, self._absent)
        elif report is not None and report.state == "failing" and not self.is_away:
            self._outlet.fault(self._code, printable(report.error or "it does not say why"))
        elif report is not None or self.is_away:  # the fault of before a reload stands until more is known
            self._outlet.clear(self._code)
        code = UNDELIVERED_FAMILY + self._name
        if self._cursor is not None and (what := self._cursor.parked.undelivered(self._name)):
            self._outlet.fault(code, what)
        else:
            self._outlet.clear(code)
        self._outlet.changed()


def _number_of(user: str) -> int | None:
    """Return the number of a user, or None if there is none of this name."""
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return None
