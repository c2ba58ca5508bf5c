"""Webhooks: each final text as an HTTP request to a receiver, signed as the Standard Webhooks describe it.

What is here is the row of `SINKS`. aiohttp is imported only when a webhook is configured.
"""

from typing import TYPE_CHECKING

from flowpi.config.schema import Config
from flowpi.config.webhooks import WebhookSettings
from flowpi.core import topics
from flowpi.core.errors import SinkError
from flowpi.publish.socket_client import Command

if TYPE_CHECKING:
    from flowpi.publish.sinks import Sink


def settings(config: Config) -> dict[str, WebhookSettings]:
    """Return the settings of each webhook by the name of its sink."""
    return {f"webhook.{name}": one for name, one in config.publish.webhooks.items()}


def follows_texts(settings: WebhookSettings) -> bool:
    """Return whether the receiver wants final texts."""
    return topics.FINAL in topics.matched(settings.filters)


def make(settings: WebhookSettings, command: Command | None) -> "Sink":
    """Return the sink. Called on a thread, because the import takes a while. Raises SinkError without the library."""
    try:
        from flowpi.publish.webhook.sink import WebhookSink
    except ModuleNotFoundError as error:
        raise SinkError(f"{error.name} is not installed", "pip install 'flowpi[web]'") from error
    return WebhookSink(settings)
