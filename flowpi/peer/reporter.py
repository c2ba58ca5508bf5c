"""Reports to the daemon how a sink is, so that it is seen, and its texts are held, as with a sink of the daemon.

The reports have a connection of their own, because the one of the texts is not read while a text is tried again. A
report is sent when something changed, and never for its own sake: while it waits for its answer, the daemon knows that
the sink is there. A daemon of before, or one that does not expect this sink, refuses it; nothing depends on that.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import structs

from flowpi.core.errors import DaemonUnavailable
from flowpi.peer.feed import Feed, Line, connected
from flowpi.publish.messages import SinkReport, TextId

log = logging.getLogger(__name__)

REPORT_S = 1.0
"""How long changes are gathered for the next report: a sink that catches up changes all the time."""

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0
"""Between two connections; each wait is twice as long as the one before."""

FOR_NOW = ("no_such_sink", "transcripts")
"""The refusals after which a report is sent again in `LONGEST_WAIT_S`: the daemon has not read the configuration again
yet, or its disk failed."""


class Reporter:
    """Reports until it is cancelled."""

    def __init__(
        self,
        socket: Path,
        news: asyncio.Event,
        report: Callable[[], SinkReport],
        asked_for: Mapping[str, Callable[[], object]],
    ) -> None:
        """
        Args:
            news: set when a report would be another one.
            report: describes the sink as it is now.
            asked_for: what the daemon may ask for.
        """
        self._socket = socket
        self._news = news
        self._describe = report
        self._asked_for = asked_for
        self._sent: TextId | None = None
        """The position in the last report."""
        self._unknown: TextId | None = None
        """A position that the daemon does not know, because somebody removed that text: it is not reported."""
        self._refusal = ""
        self._later: asyncio.TimerHandle | None = None
        """What sends the next report after a refusal `FOR_NOW`: one for all, or every text would add one for good."""
        self._wait_s = FIRST_WAIT_S

    async def run(self) -> None:
        while True:
            try:
                async with connected(self._socket) as feed:
                    await self._serve(feed)
            except DaemonUnavailable as error:  # the worker logs that for the operator
                log.debug("%s", error)
            except Exception:  # a bug here must not keep texts from the sink
                log.exception("no report to the daemon")
            await asyncio.sleep(self._wait_s)
            self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S)

    async def _serve(self, feed: Feed) -> None:
        """Report at each change until the connection is lost. Raises DaemonUnavailable."""
        reading = asyncio.ensure_future(self._read(feed))
        try:
            while not reading.done():
                self._news.clear()
                feed.report(self._report())
                await asyncio.wait({reading}, timeout=REPORT_S)
                news = asyncio.ensure_future(self._news.wait())
                await asyncio.wait({reading, news}, return_when=asyncio.FIRST_COMPLETED)
                news.cancel()
            reading.result()
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read(self, feed: Feed) -> None:
        """Do what the daemon asks for, until the connection is lost. Raises DaemonUnavailable."""
        while True:
            answer = await feed.answer()
            self._wait_s = FIRST_WAIT_S
            if isinstance(answer.error, dict):
                self._refused(str(answer.error.get("code")), str(answer.error.get("message")))
            elif answer.do:
                self._do(answer)

    def _do(self, answer: Line) -> None:
        log.info("the daemon asks for: %s", answer.do)
        if answer.do in self._asked_for:
            self._asked_for[answer.do]()
        self._news.set()  # that was the answer to the report: the next one waits in its place

    def _refused(self, code: str, message: str) -> None:
        if code == "no_such_text" and self._sent is not None:
            self._unknown = self._sent
            self._news.set()
            return
        if code in FOR_NOW:
            if self._later is not None:
                self._later.cancel()
            self._later = asyncio.get_running_loop().call_later(LONGEST_WAIT_S, self._news.set)
        if code != "shutting_down" and message != self._refusal:
            log.info("the daemon takes no report of this sink, which works all the same: %s", message)
            self._refusal = message

    def _report(self) -> SinkReport:
        report = self._describe()
        if report.last == self._unknown:
            report = structs.replace(report, last=None)
        self._sent = report.last
        return report
