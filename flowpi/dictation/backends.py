"""The configured backends, and one round over them: each in turn, until one gives a text."""

import logging
from collections.abc import Callable, Sequence

from flowpi.config import Config, FlowBackend
from flowpi.core.errors import BackendError, ConfigError
from flowpi.core.failover import Verdict, verdict
from flowpi.dictation.link import Attempt, FlowLink, Patience, Timings
from flowpi.dictation.utterance import Utterance
from flowpi.wire.flow import FinalText, PartialText

log = logging.getLogger(__name__)


class Backends:
    """Best first. Never empty."""

    def __init__(self, links: Sequence[Attempt]) -> None:
        self._links = links
        self._failing: set[str] = set()

    async def text_of(
        self, utterance: Utterance, on_partial: Callable[[PartialText, str], None]
    ) -> tuple[FinalText, str, Timings]:
        """The text, the name of the backend that gave it, and when things happened.

        An utterance with no audio in it has no text, and no backend is asked.

        Raises:
            BackendError: no backend gave a text; the reason of the last one.
        """
        if utterance.complete and not utterance.length:
            return FinalText("", None), self._links[0].name, Timings()
        last: BackendError | None = None
        for link in self._links:
            try:
                text = await _attempt(link, utterance, on_partial)
            except BackendError as error:
                last = error
                # The first failure of a streak is news, and the last backend's is the caller's to tell.
                told = link.name in self._failing or link is self._links[-1]
                log.log(logging.DEBUG if told else logging.WARNING, "%s: %s", utterance.id, error)
                self._failing.add(link.name)
            else:
                self._failing.discard(link.name)
                return text
        assert last is not None
        raise last

    async def close(self) -> None:
        """Wait for connections that are still being closed."""
        for link in self._links:
            await link.close()


async def _attempt(
    link: Attempt, utterance: Utterance, on_partial: Callable[[PartialText, str], None]
) -> tuple[FinalText, str, Timings]:
    while True:
        timings = Timings()
        try:
            text = await link.deliver(utterance, lambda partial: on_partial(partial, link.name), timings)
            return text, link.name, timings
        except BackendError as error:
            if verdict(error) is not Verdict.SAME_BACKEND_IN_JSON:
                raise
            log.info("backend %r answers MessagePack in JSON: JSON from now on", link.name)
            link.use_json()
        except Exception as error:  # a bug here must not end the service of all that was said
            log.exception("%s: the attempt on backend %r failed", utterance.id, link.name)
            raise BackendError(f"the attempt on backend {link.name!r} failed ({type(error).__name__})") from error


def make_backends(config: Config) -> Backends:
    """Raises ConfigError for a kind that this version does not speak yet."""
    links = []
    for name in config.dictation.backends:
        backend = config.backends[name]
        if not isinstance(backend, FlowBackend) or backend.token is not None:
            key = f"backends.{name}.token" if isinstance(backend, FlowBackend) else f"backends.{name}.kind suki"
            raise ConfigError("configuration", None, key, "is not in this version of flowpi", "use another backend")
        patience = Patience(final_s=config.dictation.first_result_timeout_s)
        links.append(FlowLink(name, backend, config.context, patience))
    return Backends(links)
