"""Two machines with one device_id: each connection throws the other one out, for ever. Found here, and not fought.

A broker may say so (0x8E) or only close the connection (Mosquitto 2.0.11): that looks like any lost connection, but
comes soon after each new one.
"""

from flowpi.core.errors import SinkError
from flowpi.publish.mqtt.reasons import HungUpError, TakenOverError

SOON_S = 10.0
"""A connection that is lost within this time is suspect."""
IN_A_ROW = 3
"""So many suspect ones are no accident."""
HOLD_S = 60.0
"""How long to leave the place to the other machine before it is tried again."""


class Rivalry:
    """What the ends of the connections so far say about a second machine. `now_s`: monotonic seconds.

    Attributes:
        possible: whether the last connection may have been ended for another machine, and the broker was there since.
    """

    def __init__(self, device_id: str) -> None:
        self._device_id = device_id
        self.possible = False
        self._suspect = 0
        self._until = float("-inf")

    def lost(self, error: SinkError, lasted_s: float, now_s: float) -> None:
        """Note by which error a connection was lost that the broker had accepted `lasted_s` before."""
        taken = isinstance(error, TakenOverError)
        self.possible = taken or isinstance(error, HungUpError)
        hung_up = isinstance(error, HungUpError) and lasted_s < SOON_S
        self._suspect = self._suspect + 1 if taken or hung_up else 0
        if taken or self._suspect >= IN_A_ROW:
            self._until = now_s + HOLD_S
            self._suspect = IN_A_ROW - 1  # the next one that ends soon is enough

    def wrote(self) -> None:
        """Note that another machine wrote in our place meanwhile: the next connection that ends soon is enough."""
        self._suspect = IN_A_ROW - 1

    def not_reached(self) -> None:
        """Note that there is no broker: a broker that comes and goes explains connections that end soon."""
        self.possible = False
        self._suspect = 0

    def error(self, now_s: float) -> SinkError | None:
        """Return why not to connect now, or None."""
        if now_s >= self._until:
            return None
        return SinkError(
            f"another machine uses the device_id {self._device_id!r} at the broker", "set device_id on one of them"
        )
