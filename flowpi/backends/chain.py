"""The configured backends, and one round over them: each is asked in turn until one gives a text.

A backend that failed is passed over: in a round it comes after those that did not fail. If there are others to do its
work, it is probed in the background with growing waits, until it opens a session or gives a text. If it is the only
one, the attempts for utterances that wait are the probe.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cached_property, partial
from importlib import import_module
from typing import Any, TypeVar

from msgspec.structs import replace

from flowpi.audio.denoise import filters
from flowpi.audio.utterance import Utterance
from flowpi.backends.backend import Backend, Environment, Wishes
from flowpi.backends.health import MAX_FAILURES, Health
from flowpi.backends.patience import Patience
from flowpi.backends.result import Timings
from flowpi.config.backends import kind_of
from flowpi.config.schema import Config
from flowpi.core.errors import BackendError, LinkError
from flowpi.core.failover import Verdict, retry_after_s, verdict
from flowpi.host.logfields import fields
from flowpi.wire.roles import FinalText, PartialText

log = logging.getLogger(__name__)

T = TypeVar("T")

Heard = Callable[[PartialText, str], None]
"""A callback for partial texts, with the name of the backend."""

Failed = Callable[[BackendError], None]
"""A callback for each backend that was asked and gave no text, with the reason."""


EVERY: Mapping[str | None, Sequence[str]] = {}

PROBE = "probe"
"""Stands in the place of an utterance's id while a backend is only probed."""


def retry_s(failures: int) -> float:
    """Return how long to wait after that many failures in a row."""
    import random

    return retry_after_s(failures, random.random())


class BackendChain:
    """The backends in use, in the order of the configuration."""

    def __init__(
        self,
        backends: Sequence[Backend] | Callable[[], Sequence[Backend]],
        *,
        by_profile: Mapping[str | None, Sequence[str]] = EVERY,
        max_failures: int = MAX_FAILURES,
        probe_s: Callable[[int], float] = retry_s,
    ) -> None:
        """
        Args:
            backends: best first, never empty; or what makes them when they are first used.
            by_profile: the names of those to ask for a profile, best first; under None for the others. Empty: all.
            max_failures: how often one backend may fail in a row within a minute before it is left alone.
            probe_s: returns how long to wait before a probe, after that many failures in a row.
        """
        self._make = backends if callable(backends) else lambda: backends
        self._by_profile = by_profile
        self._max_failures = max_failures
        self._keys: dict[str, str | None] = {}
        """The user's key, at that time, of each backend whose key was refused or missing."""
        self._probe_s = probe_s
        self._probing: dict[str, asyncio.Task[None]] = {}
        self._on_well: Callable[[], None] = lambda: None
        self._over = False
        self._rounds = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @cached_property
    def backends(self) -> Sequence[Backend]:
        """The backends, best first."""
        return self._make()

    @property
    def differ(self) -> bool:
        """Whether other backends are asked for one profile than for another."""
        return len(self._by_profile) > 1

    def of(self, profile: str | None) -> Sequence[Backend]:
        """Return the backends to ask for a profile, best first; for one that is not known those without a profile."""
        names = self._by_profile.get(profile, self._by_profile.get(None))
        if names is None:
            return self.backends
        return [backend for name in names for backend in self.backends if backend.name == name]

    @cached_property
    def _health(self) -> dict[str, Health]:
        return {backend.name: Health(self._max_failures) for backend in self.backends}

    @property
    def refusals(self) -> list[str]:
        """Why backends do not work until the user does something; empty if all is well."""
        errors = [health.error for health in self._health.values()]
        return [str(error) for error in errors if error is not None and verdict(error) is Verdict.STOP_AND_TELL]

    def start(self, on_well: Callable[[], None] = lambda: None) -> None:
        """Fetch keys and sessions before the first press, in the background.

        `on_well` is called when a probe shows that a backend works again.
        """
        self._on_well = on_well
        for backend in self.backends:
            backend.start()

    async def text_of(
        self, utterance: Utterance, on_partial: Heard, on_failed: Failed = lambda error: None
    ) -> tuple[FinalText, str, Timings]:
        """Return the text, the name of the backend that gave it, and when things happened.

        An utterance without audio has no text, and no backend is asked.

        Raises:
            BackendError: no backend gave a text; this is the reason of the last one that was asked.
        """
        if utterance.complete and not utterance.length:
            return FinalText("", None), self.of(utterance.about.profile)[0].name, Timings()
        self._rounds += 1
        self._idle.clear()
        try:
            return await self._round(utterance, on_partial, on_failed)
        finally:
            self._rounds -= 1
            if not self._rounds:
                self._idle.set()

    def end_rests(self) -> None:
        """Allow every backend to be asked at once, as the user wants, also with a key that was refused.

        A pause that a service asked for is still kept.
        """
        for health in self._health.values():
            health.end_rest()
        for backend in self.backends:
            backend.forgive()

    async def retire(self) -> None:
        """Close once the rounds that have begun are over. No new round may begin."""
        await self._end_probing()
        await self._idle.wait()
        await self.close()

    async def close(self) -> None:
        """End what `start` began, and wait for connections that are still being closed."""
        await self._end_probing()  # first: a probe must not open what is being closed
        for backend in self.backends:
            await backend.close()

    async def _round(
        self, utterance: Utterance, on_partial: Heard, on_failed: Failed
    ) -> tuple[FinalText, str, Timings]:
        self._welcome_other_keys()
        last: BackendError | None = None
        backends = self.of(utterance.about.profile)
        for backend in sorted(backends, key=lambda backend: self._health[backend.name].failing):
            if self._health[backend.name].rests(asyncio.get_running_loop().time()):
                continue
            try:
                return await self._text_from(backend, utterance, on_partial)
            except BackendError as error:
                on_failed(error)
                last = error
        if last is None:  # all of them are left alone
            errors = (self._health[backend.name].error for backend in reversed(backends))
            last = next(filter(None, errors), LinkError("all backends asked for a rest")).with_traceback(None)
        raise last

    def _welcome_other_keys(self) -> None:
        """Use a key that the user has just corrected at once, instead of after the next probe."""
        for backend in self.backends:
            health = self._health[backend.name]
            if health.wants_key and backend.user_key() != self._keys[backend.name]:
                health.probed()
                health.end_rest()

    async def _text_from(
        self, backend: Backend, utterance: Utterance, on_partial: Heard
    ) -> tuple[FinalText, str, Timings]:
        async def transcribe() -> tuple[FinalText, Timings]:
            timings = Timings()  # of this connection alone
            try:
                text = await backend.transcribe(utterance, lambda partial: on_partial(partial, backend.name), timings)
            except BackendError as error:
                error.before_audio = timings.audio_at is None
                raise
            return text, timings

        text, timings = await self._contact(backend, transcribe, utterance.id)
        self._health[backend.name].answered()
        if probing := self._probing.pop(backend.name, None):
            probing.cancel()
        return text, backend.name, timings

    async def _contact(self, backend: Backend, action: Callable[[], Awaitable[T]], what: str) -> T:
        """Do `action`, and again at once where that may help: see `Verdict.RETRY_NOW`. Raises BackendError."""
        health, loop = self._health[backend.name], asyncio.get_running_loop()
        healed = False
        while True:
            began = None if what == PROBE else loop.time()
            if began is not None:
                health.begins(began)
            try:
                return await action()
            except BackendError as error:
                again = verdict(error) is Verdict.RETRY_NOW
                if error.healed:
                    again, healed = not healed, True
                elif again:
                    again = what != PROBE and health.may_retry(loop.time())
                if not again:
                    error.healed = False  # another key did not help
                self._failed(backend, what, error, began)
                if not again:
                    raise
            except Exception as error:  # a bug here must not keep other utterances from their text
                name = backend.name
                log.exception("%s: the attempt on backend %r failed", what, name, extra=_about(what, backend))
                raise BackendError(f"the attempt on backend {name!r} failed ({type(error).__name__})") from error

    def _failed(self, backend: Backend, what: str, error: BackendError, began: float | None) -> None:
        health = self._health[backend.name]
        # Only the first failure of a streak is a warning; the caller reports that of the last backend.
        told = health.error is not None or backend is self.backends[-1]
        log.log(logging.DEBUG if told else logging.WARNING, "%s: %s", what, error, extra=_about(what, backend))
        health.failed(error, asyncio.get_running_loop().time(), began=began)
        if health.wants_key:
            self._keys[backend.name] = backend.user_key()
        if health.failing and len(self.backends) > 1 and not self._over and backend.name not in self._probing:
            self._probing[backend.name] = asyncio.create_task(self._probe(backend), name=f"probe {backend.name}")

    async def _probe(self, backend: Backend) -> None:
        """Probe a backend until it works again."""
        health, loop = self._health[backend.name], asyncio.get_running_loop()
        while True:
            await asyncio.sleep(max(self._probe_s(health.failures), health.rests_until - loop.time()))
            if not health.may_probe(loop.time()):  # dictations have failed meanwhile
                continue
            with contextlib.suppress(BackendError):
                await self._contact(backend, backend.probe, PROBE)
                break
        log.info("backend %r opens sessions again", backend.name, extra=fields(backend=backend.name))
        del self._probing[backend.name]
        health.probed()
        self._on_well()

    async def _end_probing(self) -> None:
        self._over = True
        for probing in self._probing.values():
            probing.cancel()
        await asyncio.gather(*self._probing.values(), return_exceptions=True)
        self._probing.clear()


def _about(what: str, backend: Backend) -> dict[str, Any]:
    """Return the fields of a log line. `what`: the id of an utterance, or `PROBE`."""
    return fields(utterance=None if what == PROBE else what, backend=backend.name)


def make_backends(config: Config) -> BackendChain:
    """Make the backends in use, with the client that `KINDS` has for each kind."""
    return BackendChain(_backends(config), by_profile=_by_profile(config))


def late_backends(config: Config) -> BackendChain:
    """Return a chain that imports the clients, and makes the backends, when they are first used."""
    return BackendChain(partial(_backends, config), by_profile=_by_profile(config))


def preload(config: Config) -> None:
    """Import what the first connection needs, 70 ms and 7 MB. Safe in any thread."""
    from flowpi.backends import transport

    transport.preload()
    for name in config.backends_in_use:
        import_module(kind_of(config.backends[name]).client)


def _by_profile(config: Config) -> dict[str | None, Sequence[str]]:
    orders: dict[str | None, Sequence[str]] = {None: config.dictation.backends}
    return orders | {
        name: profile.backends for name, profile in config.profiles.items() if profile.backends is not None
    }


def _backends(config: Config) -> list[Backend]:
    environment = Environment(
        hints=config.context,
        patience=Patience(final_s=config.dictation.first_result_timeout_s),
        device_id=config.device_id or socket.gethostname(),
        profiles={
            name: Wishes(one.context.over(config.context), one.language) for name, one in config.profiles.items()
        },
    )
    local = filters(config.audio.denoise)
    backends: list[Backend] = []
    for name in config.backends_in_use:
        settings = config.backends[name]
        # A service elsewhere has its own way with noise.
        made_with = replace(environment, filter=local) if settings.on_this_machine else environment
        client = import_module(kind_of(settings).client)  # only users of a kind pay for its import
        backends.append(client.make(name, settings, made_with))
    return backends
