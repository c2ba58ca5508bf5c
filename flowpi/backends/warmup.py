"""Keeping a service warm while another dictation is likely: for a while after each one.

The service's page (W7) asks for a request when dictation starts, and again after a minute.
"""

import asyncio
import logging
from urllib.parse import urlsplit, urlunsplit

from flowpi.backends.transport import Transport
from flowpi.core.errors import BackendError
from flowpi.host.logfields import fields

log = logging.getLogger(__name__)

REPEAT_S = 60.0


class WarmUp:
    """Sends the requests that keep a service warm.

    `url`: of the WebSocket; the request goes to `warmup_dash` beside it. `for_s`: how long after a dictation; 0: never.
    """

    def __init__(self, transport: Transport, url: str, for_s: float) -> None:
        parts = urlsplit(url)
        path = parts.path.rpartition("/")[0] + "/warmup_dash"
        self._url = urlunsplit((parts.scheme.replace("ws", "http"), parts.netloc, path, "", ""))
        self._transport = transport
        self._for_s = for_s if parts.scheme in ("ws", "wss") else 0.0  # a service on this machine is warm
        self._until = 0.0
        self._task: asyncio.Task[None] | None = None

    def dictation_began(self) -> None:
        if not self._for_s:
            return
        self._until = asyncio.get_running_loop().time() + self._for_s
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._keep_warm(), name=f"keep {self._transport.name} warm")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _keep_warm(self) -> None:
        # Not at once: the dictation that just began warms it by itself.
        loop = asyncio.get_running_loop()
        while (pause_s := min(REPEAT_S, self._until - loop.time())) > 0:
            await asyncio.sleep(pause_s)
            if loop.time() >= self._until:
                return
            try:
                await self._transport.request("GET", self._url)
            except BackendError as error:
                name = self._transport.name
                log.debug("%r is not warmed: %s", name, error, extra=fields(backend=name))
