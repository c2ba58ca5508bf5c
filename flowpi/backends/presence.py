"""Whether anything listens where the backends of this machine should be, without a session with one of them."""

import asyncio
import contextlib
from urllib.parse import urlsplit

from flowpi.config.schema import Config

PATIENCE_S = 2.0


async def absent_backends(config: Config) -> tuple[str, ...]:
    """Return the backends in use if nothing listens for any of them.

    Nothing is said of a backend elsewhere: asking it could cost a session of the account, and the network may not be
    there yet.
    """
    for name in config.dictation.backends:
        settings = config.backends[name]
        if not settings.on_this_machine or await _listens(settings.endpoint):
            return ()
    return config.dictation.backends


async def _listens(url: str) -> bool:
    try:
        async with asyncio.timeout(PATIENCE_S):
            _, writer = await asyncio.open_unix_connection(urlsplit(url).path)
    except BlockingIOError:  # a crowd is waiting there
        return True
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
