"""The backends in use now. Others may replace them at any time; attempts that have begun end where they began."""

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Protocol

from flowpi.audio.utterance import Utterance
from flowpi.backends.chain import BackendChain
from flowpi.backends.result import Recognised
from flowpi.core.errors import BackendError
from flowpi.wire.roles import PartialText


class BackendAudience(Protocol):
    """Hears what backends say. Called on the loop."""

    def partial(self, utterance: Utterance, text: PartialText, backend: str) -> None: ...

    def refusals_changed(self, refusals: list[str]) -> None:
        """These are now the reasons why backends do not work until the user does something."""


class CurrentBackends:
    """The chain of backends in use.

    Attributes:
        last: the name of the backend that answered last.
    """

    def __init__(self, chain: BackendChain, audience: BackendAudience) -> None:
        self._answered = asyncio.Event()
        self._texts: Counter[str] = Counter()
        """How many texts each backend has given."""
        self.last: str | None = None
        self._chain = chain
        self._audience = audience
        self._retiring: set[asyncio.Task[None]] = set()

    @property
    def differ(self) -> bool:
        """Whether some profile has backends of its own."""
        return self._chain.differ

    def of(self, profile: str | None) -> tuple[str, ...]:
        """Return the names of the backends that are asked for a profile."""
        return tuple(backend.name for backend in self._chain.of(profile))

    def texts(self, profile: str | None) -> int:
        """Return how many texts, of all utterances, the backends of a profile have given."""
        return sum(self._texts[name] for name in self.of(profile))

    def start(self) -> None:
        self._chain.start(self._is_well)

    def replace(self, chain: BackendChain) -> None:
        """Use another chain from the next attempt on, and retire this one."""
        retired, self._chain = self._chain, chain
        self.start()
        self._retiring.add(task := asyncio.create_task(retired.retire(), name="retire backends"))
        task.add_done_callback(self._retiring.discard)
        self._is_well()

    def end_rests(self) -> None:
        """See `BackendChain.end_rests`."""
        self._chain.end_rests()

    async def ask(self, utterance: Utterance, on_failed: Callable[[BackendError], None]) -> Recognised:
        """Return the text of an utterance: see `BackendChain.text_of`. Raises BackendError."""
        chain = self._chain
        try:
            text, backend, timings = await chain.text_of(
                utterance, partial(self._audience.partial, utterance), on_failed
            )
        finally:
            if chain is self._chain:
                self._audience.refusals_changed(chain.refusals)
        self.last = backend
        self._texts[backend] += 1
        self._answered.set()
        return Recognised(utterance, text, backend, timings)

    def forget_answers(self) -> None:
        """Make `wait_for_answer` wait for what comes from now on."""
        self._answered.clear()

    async def wait_for_answer(self) -> None:
        """Wait until a backend gives a text or works again, or `wake`. There may be one waiter."""
        await self._answered.wait()

    def wake(self) -> None:
        """End the wait for an answer: somebody did something about the backends."""
        self._answered.set()

    async def close(self) -> None:
        """Close the chain. All attempts must be over."""
        await asyncio.gather(*self._retiring)
        await self._chain.close()

    def _is_well(self) -> None:
        self._answered.set()
        self._audience.refusals_changed(self._chain.refusals)
