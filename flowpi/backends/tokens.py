"""Keys: where a key comes from, and when another one is needed.

A key is a secret of the user, read anew each time, or a token that a server or a program gives for a while. A token is
replaced before it expires, and fetched once for all callers that wait for it, so that a press finds it ready.
"""

import asyncio
import contextlib
import json
import logging
import os
import random
import re
import signal
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from msgspec import Struct

from flowpi.backends.errors import masked
from flowpi.backends.transport import MAX_ANSWER_BYTES, Transport
from flowpi.config.backends.flow import TokenSettings
from flowpi.config.secret import Secret
from flowpi.core.errors import BackendError, ConfigError, CredentialError
from flowpi.core.failover import retry_after_s
from flowpi.host.logfields import fields

log = logging.getLogger(__name__)

AHEAD = 0.2
AHEAD_MAX_S = 300.0
"""A token is replaced when this share of its lifetime is left, and at most five minutes before it expires."""

LEAST_S = 1.0
"""The least time between two renewals, however short the lifetime is."""

YOUNG_S = 10.0
REST_S = 60.0
"""A service that refuses a token younger than `YOUNG_S` would refuse the next one too: no token is used for
`REST_S`."""

FORGET_REFUSAL_S = 300.0
"""How long a refused key is not sent again. It is then, in case the mistake was the service's."""

LONGEST_S = 86_400.0
"""The longest lifetime that counts: there is a new token each day."""

COMMAND_S = 30.0


class Key(Protocol):
    async def get(self) -> str | None:
        """Return the key, or None if none is needed.

        Raises:
            BackendError: there is no key.
        """

    async def refused(self, key: str | None) -> bool:
        """Report that the service refused a key. Return whether there is another one to try now."""

    def forgive(self) -> None:
        """Let a key that was refused be used again: the user asks for it, and may have changed something there."""

    def start(self) -> None:
        """Prepare for the first `get`, in the background."""

    async def close(self) -> None: ...


class NoKey:
    """The key of a backend that needs none. If the service wants one after all, it is left alone for a while."""

    def __init__(self, name: str) -> None:
        """`name`: of the backend, for messages."""
        self._name = name
        self._rests_until = 0.0

    async def get(self) -> None:
        if asyncio.get_running_loop().time() < self._rests_until:
            raise CredentialError(
                f"backend {self._name!r} wants a key", f"set client_key, api_key or token of backends.{self._name}"
            )

    async def refused(self, key: str | None) -> bool:
        self._rests_until = asyncio.get_running_loop().time() + REST_S
        return False

    def forgive(self) -> None:
        self._rests_until = 0.0

    def start(self) -> None: ...

    async def close(self) -> None: ...


class SecretKey:
    """A secret of the user. One that was refused is not sent again until it changes."""

    def __init__(self, name: str, secret: Secret) -> None:
        """`name`: of the backend, for messages."""
        self._name = name
        self._secret = secret
        self._refused: tuple[str, float] | None = None

    async def get(self) -> str:
        key = resolve(self._name, self._secret)
        if self._refused is not None:
            refused, at = self._refused
            if key == refused and asyncio.get_running_loop().time() - at < FORGET_REFUSAL_S:
                raise CredentialError(
                    f"backend {self._name!r} refused this key before", f"change the key of backends.{self._name}"
                )
        return key

    async def refused(self, key: str | None) -> bool:
        if key is None:
            return False
        self._refused = key, asyncio.get_running_loop().time()
        try:
            return resolve(self._name, self._secret) != key
        except CredentialError:
            return False

    def forgive(self) -> None:
        self._refused = None

    def start(self) -> None: ...

    async def close(self) -> None: ...


def resolve(name: str, secret: Secret) -> str:
    """Return the secret of the backend `name`. Raises CredentialError: it is not where it should be."""
    try:
        return secret.resolve()
    except ConfigError as error:
        raise CredentialError(f"there is no key for backend {name!r}: {error.message}", error.hint) from None


def as_it_is_now(secret: Secret | None) -> str | None:
    """Return the secret, or None if there is none or it is not where it should be."""
    try:
        return None if secret is None else secret.resolve()
    except ConfigError:
        return None


class Fetched(Struct, frozen=True):
    """A token. `lifetime_s`: from now."""

    key: str
    lifetime_s: float


class FetchedKey:
    """A token that `fetch` returns: kept until it is about to expire, and fetched once for all callers that wait."""

    def __init__(self, name: str, fetch: Callable[[], Awaitable[Fetched]]) -> None:
        """`name`: of the backend, for messages. `fetch` raises BackendError."""
        self._name = name
        self._fetch = fetch
        self._key: str | None = None
        self._ends_at = 0.0
        self._fetched_at = 0.0
        self._rests_until = 0.0
        self._was_refused = False
        """Whether the key before this one was refused."""
        self._another = asyncio.Event()
        """Set when there is another key than the one that `_renew` waits to replace."""
        self._fetching: asyncio.Task[str] | None = None
        self._renewing: asyncio.Task[None] | None = None

    async def get(self) -> str:
        now = asyncio.get_running_loop().time()
        if now < self._rests_until:
            raise CredentialError(
                f"backend {self._name!r} refuses keys that it has just given",
                "check that token.url and url belong together, and the clocks",
            )
        if self._key is not None and now < self._ends_at:
            return self._key
        return await self._fetched()

    async def refused(self, key: str | None) -> bool:
        """Only the first report of a refused key fetches a new one; concurrent callers wait for it."""
        now = asyncio.get_running_loop().time()
        if key == self._key:
            self._key = None
            if self._was_refused and now - self._fetched_at < YOUNG_S:
                self._rests_until = now + REST_S
            self._was_refused = True
        try:
            return await self.get() != key
        except BackendError as error:
            log.debug("no new key for %r: %s", self._name, error, extra=fields(backend=self._name))
            return False

    def forgive(self) -> None:
        self._rests_until = 0.0

    def start(self) -> None:
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._renew(), name=f"keys of {self._name}")

    async def close(self) -> None:
        tasks = [task for task in (self._renewing, self._fetching) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _fetched(self) -> str:
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch_one(), name=f"fetch a key of {self._name}")
            self._fetching.add_done_callback(self._fetched_one)
        return await asyncio.shield(self._fetching)  # a caller that is cancelled must not cancel the others

    def _fetched_one(self, task: asyncio.Task[str]) -> None:
        self._fetching = None
        if not task.cancelled():
            task.exception()  # so that asyncio does not report it, if all callers were cancelled

    async def _fetch_one(self) -> str:
        fetched = await self._fetch()
        self._key = fetched.key
        self._another.set()
        self._fetched_at = asyncio.get_running_loop().time()
        self._ends_at = self._fetched_at + fetched.lifetime_s
        return fetched.key

    async def _renew(self) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            if self._key is not None and failures == 0:
                left_s = self._ends_at - loop.time()
                self._another.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(left_s - min(left_s * AHEAD, AHEAD_MAX_S), LEAST_S)):
                        await self._another.wait()
                        continue  # the new key has an end of its own
            try:
                await self._fetched()
                failures = 0
            except BackendError as error:
                failures += 1
                level = logging.DEBUG if failures > 1 else logging.WARNING
                log.log(level, "%s", error, extra=fields(backend=self._name))
                await asyncio.sleep(retry_after_s(failures, random.random()))


def fetch_token(
    name: str, token: TokenSettings, transport: Transport, client_id: str
) -> Callable[[], Awaitable[Fetched]]:
    """Return the way to fetch a token that the configuration asks for.

    `name`: of the backend; `client_id`: of this appliance. With `api_key` the request is that of the service's page
    `generate_access_token` (W3); a server of the user accepts the same, or is asked by GET if no key is set.
    """

    async def from_url() -> Fetched:
        assert token.url is not None
        if token.api_key is None:
            answer = await transport.request("GET", token.url)
        else:
            api_key = resolve(name, token.api_key)
            headers = {"Authorization": f"Bearer {api_key}"}
            body = {"client_id": token.client_id or client_id, "duration_secs": token.duration_s}
            with masked(api_key):
                answer = await transport.request("POST", token.url, headers=headers, body=body)
        return _fetched(name, answer, token.duration_s)

    async def from_command() -> Fetched:
        assert token.command is not None
        return _fetched(name, await _output(name, token.command), token.duration_s)

    return from_url if token.url is not None else from_command


async def _output(name: str, command: tuple[str, ...]) -> Any:
    """Return what a program prints: JSON or text. Its stderr may hold keys, and is not shown."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # so that programs that it starts end with it
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a command"
        hint = f"check backends.{name}.token.command"
        if isinstance(error, PermissionError):
            hint += "; the service starts it only with ExecPaths= in a drop-in, see docs/backends.md"
        raise CredentialError(
            f"the command for the key of backend {name!r} cannot run ({reason.lower()})", hint
        ) from None
    assert process.stdout is not None
    output = b""
    try:
        async with asyncio.timeout(COMMAND_S):
            while len(output) <= MAX_ANSWER_BYTES and (piece := await process.stdout.read(MAX_ANSWER_BYTES)):
                output += piece
            if len(output) <= MAX_ANSWER_BYTES:
                await process.wait()
    except TimeoutError:
        raise CredentialError(
            f"the command for the key of backend {name!r} took longer than {COMMAND_S:g} s", temporary=True
        ) from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if len(output) > MAX_ANSWER_BYTES:
        raise CredentialError(
            f"the command for the key of backend {name!r} prints more than {MAX_ANSWER_BYTES} bytes",
            "it must print the key alone",
        )
    if process.returncode:
        raise CredentialError(
            f"the command for the key of backend {name!r} ended with {process.returncode}",
            "run it by hand as the user of flowpi",
            temporary=True,
        )
    text = output.decode("utf-8", "replace").strip()
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _fetched(name: str, answer: Any, lifetime_s: float) -> Fetched:
    """Make a token of `{"access_token": ..., "expires_in": ...}`, or of the token alone."""
    if isinstance(answer, dict):
        expires_in = answer.get("expires_in")
        if isinstance(expires_in, int | float) and not isinstance(expires_in, bool) and expires_in > 0:
            lifetime_s = float(min(expires_in, LONGEST_S))
        answer = next((answer[key] for key in ("access_token", "client_key", "token") if key in answer), None)
    answer = answer.strip() if isinstance(answer, str) else ""
    if not re.fullmatch(r"[A-Za-z0-9._~+/=:-]+", answer):  # RFC 6750: a bearer token, no web page, no sentence
        raise CredentialError(
            f"what should give the key of backend {name!r} gives none",
            'it must answer with the key alone, or {"access_token": ..., "expires_in": seconds}',
        )
    return Fetched(answer, lifetime_s)
