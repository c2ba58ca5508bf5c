"""Reports the state of the appliance to the service manager and the journal."""

import logging
import time

from flowpi.core.appliance import Recording, State
from flowpi.core.summary import summary
from flowpi.host.logfields import MessageId, fields
from flowpi.host.systemd import Notifier

log = logging.getLogger(__name__)


class Reporter:
    """The status line of the unit, and the entries of faults that come and go."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._before: State | None = None
        self._last: str | None = None

    def show(self, state: State, spooled: int) -> None:
        """Report a new state. Called for each of them.

        A fault is an entry in the journal when it comes and when it goes. Its message is not repeated: the part that
        raised it has logged it.

        Args:
            spooled: how many utterances are kept for later.
        """
        before, self._before = self._before, state
        if isinstance(before, Recording) and not isinstance(state, Recording):
            self._last = time.strftime("%Y-%m-%d %H:%M")
        self._notifier.status(summary(state, spooled, self._last))
        old = {fault.code for fault in before.faults} if before else set()
        new = {fault.code for fault in state.faults}
        for code in sorted(new - old):
            log.warning("fault: %s", code, extra=fields(MessageId.FAULT_RAISED, fault=code, state=state.name))
        for code in sorted(old - new):
            log.info("fault over: %s", code, extra=fields(MessageId.FAULT_CLEARED, fault=code, state=state.name))
