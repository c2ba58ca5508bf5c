"""The texts that Home Assistant missed: those that the broker acknowledged between its "offline" and its "online".

A broker that was restarted says no "offline": it has forgotten that Home Assistant was there. That nobody is subscribed
to the topic of its announcements says the same.

Home Assistant connects with a clean session, and ignores retained messages of event entities: a text of that time
never reaches it unless it is published again.
"""

from collections import deque

from flowpi.publish.messages import Final

MOST_TEXTS = 100
MOST_S = 3600.0
"""How old a text may be when it is published again."""


class Absence:
    """The state of Home Assistant, as its own topic says, and what it missed. `now_s`: monotonic seconds.

    Attributes:
        away: whether the last that the broker said on this connection is that it went, or is not there.
    """

    def __init__(self) -> None:
        self.away = False
        self._missed: deque[tuple[float, Final]] = deque(maxlen=MOST_TEXTS)
        self._owed: deque[Final] = deque(maxlen=MOST_TEXTS)

    def went(self) -> None:
        """Home Assistant says that it goes, or the broker says that it went."""
        self.away = True

    def acknowledged(self, final: Final, now_s: float) -> None:
        """Note a text that the broker has.

        Called in the order in which the broker sent its acknowledgement and the messages of Home Assistant: a text
        from before the "offline" has arrived, and a second one would run its automations twice.
        """
        if self.away:
            self._missed.append((now_s, final))

    def came(self, now_s: float) -> None:
        """Home Assistant is there again, or may be, and is owed what it missed."""
        self._owed.extend(final for at, final in self._missed if now_s - at <= MOST_S)
        self._missed.clear()
        self.away = False

    def next_owed(self) -> Final | None:
        """Return the next text to publish again, or None if there is none or nobody to receive it."""
        return self._owed[0] if self._owed and not self.away else None

    def paid(self) -> None:
        """The broker has the text that `next_owed` returned."""
        self._owed.popleft()
