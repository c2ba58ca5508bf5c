"""Asks a language model to clean a text, and uses its answer only if that is what was said, and comes in time."""

import asyncio
import contextlib
import logging
import os
from importlib import import_module
from typing import Protocol
from urllib.parse import urlsplit

from flowpi.config.text import RewriteSettings
from flowpi.core.errors import FlowpiError
from flowpi.core.text.language import Language
from flowpi.core.text.rewriting import Message, Unusable, accepted, request

log = logging.getLogger(__name__)

CHAT = "flowpi.editing.chat"
"""The client is imported late, with aiohttp: only its users pay for that."""

REST_S = 60.0
"""How long a server is left alone that did not answer."""

MOST_FAILURES = 3
"""How many texts in a row may wait for a server that does not answer, while somebody waits for them. A text that comes
late anyway waits for none: two hundred of them would take minutes."""


class Client(Protocol):
    """What asks a server: see `flowpi.editing.chat.Chat`."""

    async def ask(self, messages: list[Message]) -> str: ...

    async def close(self) -> None: ...


class Rewriter:
    """Rewrites texts by one server. Call `close` at the end."""

    def __init__(self, settings: RewriteSettings, chat: Client | None = None) -> None:
        """
        Args:
            settings: with a URL.
            chat: used instead of a client of that server.
        """
        self._settings = settings
        self._where = urlsplit(settings.url or "").netloc
        self._chat = chat
        self._closed = False
        self._failures = 0
        """How many texts in a row got no answer."""
        self._rests_until = 0.0

    async def open(self) -> None:
        """Import what the first text will need: 0.2 s or more."""
        with contextlib.suppress(ModuleNotFoundError):  # said of the first text
            await asyncio.to_thread(import_module, CHAT)

    async def rewritten(self, text: str, language: Language | None, *, late: bool) -> str | None:
        """Return the text as the model cleaned it, or None if the text is to stay as it is. Never raises for a text.

        Args:
            language: the tables of its language, if there are any.
            late: nobody waits for this text any more.
        """
        loop = asyncio.get_running_loop()
        if self._failures >= (1 if late else MOST_FAILURES) and loop.time() < self._rests_until:
            return None
        word = os.urandom(8).hex()
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                chat = await self._client()
                answer = await chat.ask(request(self._settings.prompt, text, word))
        except TimeoutError:
            self._failed(f"no answer within {self._settings.timeout_s:g} s", loop.time())
            return None
        except FlowpiError as error:
            self._failed(str(error), loop.time())
            return None
        except ModuleNotFoundError as error:
            self._failed(f"{error.name} is not installed: pip install 'flowpi[web]'", loop.time())
            return None
        except Exception as error:  # a mistake in here, or one of the library, must not undo what the rules did
            self._failed(f"internal error ({type(error).__name__})", loop.time())
            return None
        self._answered()
        try:
            # On a thread, as the rules: a minute of speech takes ten milliseconds on a fast machine, an hour a second.
            return await asyncio.to_thread(accepted, text, answer, word, language)
        except Unusable as unusable:
            log.debug("the text stays as it was, the answer of %s is not used: %s", self._where, unusable)
            return None

    async def close(self) -> None:
        """Close the connections. A text that waits for its answer stays as it is."""
        self._closed = True
        if self._chat is not None:
            await self._chat.close()

    async def _client(self) -> Client:
        if self._chat is None:
            module = await asyncio.to_thread(import_module, CHAT)
            if self._chat is None and not self._closed:  # nobody else was faster
                self._chat = module.Chat(self._settings)
        if self._chat is None:
            raise FlowpiError("the configuration changed meanwhile", "")
        return self._chat

    def _failed(self, problem: str, now: float) -> None:
        self._failures += 1
        self._rests_until = now + REST_S
        level = logging.WARNING if self._failures == 1 else logging.DEBUG
        log.log(level, "texts are not rewritten by %s: %s", self._where, problem)

    def _answered(self) -> None:
        if self._failures:
            log.info("%s answers again", self._where)
        self._failures = 0
