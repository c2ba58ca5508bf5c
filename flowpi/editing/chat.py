"""A client of the chat completions of an OpenAI-compatible server. The only module here that imports aiohttp."""

import asyncio
import os

import aiohttp
import msgspec

from flowpi.config.text import RewriteSettings
from flowpi.core.errors import ConfigError, FlowpiError
from flowpi.core.text.rewriting import Message

MAX_ANSWER_BYTES = 256 * 1024
"""As long as the longest text of a backend."""

COMPLETIONS = "/chat/completions"


class ChatError(FlowpiError):
    """The server gave no answer that can be read. Quotes nothing of the server, and no text.

    `code`: as of a finding of the doctor.
    """

    def __init__(self, problem: str, hint: str, code: str) -> None:
        super().__init__(problem, hint)
        self.code = code


class _Said(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Said
    finish_reason: str | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]


class Chat:
    """Asks one server. Made on the event loop; call `close` at the end. No call has a time limit of its own."""

    def __init__(self, settings: RewriteSettings) -> None:
        """`settings`: with a URL."""
        assert settings.url is not None
        self._settings = settings
        self._base = settings.url.rstrip("/").removesuffix(COMPLETIONS)
        # A connection for each text: one that was kept may be closed by the server at the moment of the next request,
        # which would then fail. No proxy: to use that of the environment, `trust_env` would also read ~/.netrc.
        connector = aiohttp.TCPConnector(force_close=True, resolver=aiohttp.ThreadedResolver())
        self._session = aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, trust_env=False
        )

    async def ask(self, messages: list[Message]) -> str:
        """Return the answer to a chat, complete.

        Raises:
            ChatError: there is none.
        """
        request = {"model": self._settings.model, "messages": messages, "stream": False}
        body = await self._body("POST", self._base + COMPLETIONS, msgspec.json.encode(request))
        try:
            choice = msgspec.json.decode(body, type=_Completion).choices[0]
        except (msgspec.MsgspecError, ValueError, RecursionError, IndexError):
            raise ChatError("its answer is no chat completion", "check text.rewrite.url", "protocol") from None
        if choice.finish_reason not in (None, "stop"):
            raise ChatError("its answer was cut off", "choose a model that says less", "protocol")
        return choice.message.content or ""

    async def models(self) -> list[str]:
        """Return the names of the models that the server has, without a chat; empty if it does not list them.

        Raises:
            ChatError: it does not answer, or refuses.
        """
        body = await self._body("GET", f"{self._base}/models", None)
        try:
            return [model.id for model in msgspec.json.decode(body, type=_Models).data]
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return []

    async def close(self) -> None:
        """Close what is open. A chat that still runs fails."""
        await self._session.close()

    async def _body(self, method: str, url: str, data: bytes | None) -> bytes:
        headers = {"Accept-Encoding": "identity", "Content-Type": "application/json"}
        if self._settings.api_key is not None:
            try:
                key = await asyncio.to_thread(self._settings.api_key.resolve)
            except ConfigError as error:
                raise ChatError(f"its api_key cannot be used: {error.message}", error.hint, "key") from None
            headers["Authorization"] = f"Bearer {key}"
        try:
            async with self._session.request(
                method, url, data=data, headers=headers, allow_redirects=False
            ) as response:
                _check(response.status)
                body = bytearray()
                async for chunk in response.content.iter_chunked(16 * 1024):
                    body += chunk
                    if len(body) > MAX_ANSWER_BYTES:
                        raise ChatError("its answer has no end", "", "protocol")
                return bytes(body)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _explained(error) from None


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


def _check(status: int) -> None:
    """Raises ChatError for every status but 200."""
    match status:
        case 200:
            return
        case 401 | 403:
            raise ChatError(f"it refuses the key (HTTP {status})", "correct text.rewrite.api_key", "key")
        case 404 | 405:
            raise ChatError(f"it has no such path or model (HTTP {status})", "check text.rewrite.url and model", "path")
        case 429:
            raise ChatError("it is asked too often (HTTP 429)", "", "http")
        case _ if 300 <= status < 400:
            raise ChatError(
                f"it sends elsewhere (HTTP {status})", "no redirect is followed, so correct text.rewrite.url", "http"
            )
        case _:
            raise ChatError(f"it answers HTTP {status}", "see its log", "http")


def _explained(error: Exception) -> ChatError:
    """Return what went wrong. Never the words of the library: they hold the URL."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return ChatError("its certificate is not trusted", "check text.rewrite.url", "tls")
        case aiohttp.ClientSSLError():
            return ChatError("no secure connection", "check that https:// is right for this port", "tls")
        case aiohttp.ClientConnectorDNSError():
            return ChatError("its name has no address", "check the name in text.rewrite.url, and the network", "dns")
        case aiohttp.ClientConnectorError(os_error=OSError(errno=number)):
            reason = os.strerror(number) if number else "no connection"
            return ChatError(f"it is not reached ({reason})", "check that it runs, and the network", "route")
        case aiohttp.ClientConnectionError() | aiohttp.ClientPayloadError() | OSError():
            return ChatError("the connection broke", "", "http")
    return ChatError("it does not answer in HTTP", "check the port in text.rewrite.url", "protocol")
