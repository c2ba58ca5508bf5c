"""The settings of a webhook: where the texts go by HTTP, and the secret that signs them."""

import binascii
from collections.abc import Iterator
from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Struct

from flowpi.config.addresses import CONTROL, has_control, is_near, url_problems
from flowpi.config.backends.settings import Contradiction
from flowpi.config.secret import Secret, file_warnings
from flowpi.config.topic_filters import unusable
from flowpi.config.types import Text, Words, setting
from flowpi.core import topics
from flowpi.core.errors import ConfigError

KEY_BYTES = range(24, 65)
"""How long a key may be, by the Standard Webhooks."""

MAKE_SECRET = 'write whsec_ and 24 to 64 bytes in base64, as `echo "whsec_$(openssl rand -base64 32)"` prints them'


class WebhookSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """A receiver of texts and other messages, as the Standard Webhooks describe it: see [webhooks](webhooks.md)."""

    url: Annotated[Text, setting("`https://` or `http://`; no redirect is followed, and no proxy is used")]
    secret: Annotated[
        Secret | None,
        setting(
            "a secret, `whsec_` and 24 to 64 bytes in base64, with which each request is signed; null: none is signed, "
            "as for the webhooks of Home Assistant"
        ),
    ] = None
    old_secret: Annotated[
        Secret | None, setting("a secret, the one of before: each request is signed with both, until you remove it")
    ] = None
    ca_file: Annotated[Text | None, setting("PEM: an authority to trust beside those of the system")] = None
    filters: Annotated[
        Words,
        setting(
            "the topics whose messages it receives; only final texts are tried again and never missed, the others are "
            "sent once"
        ),
    ] = (topics.FINAL,)

    @property
    def url_is_secret(self) -> bool:
        """Whether whoever knows the URL may use it: requests are not signed, and there is more to it than the host."""
        return self.secret is None and self.masked_url != self.url

    @property
    def masked_url(self) -> str:
        """The URL with `***` for its path and query."""
        scheme, host = urlsplit(self.url)[:2]
        return f"{scheme}://{host}/***" if self.url.rstrip("/") != f"{scheme}://{host}" else self.url

    def contradictions(self) -> Iterator[Contradiction]:
        """Yield what makes these settings unusable, and what to do."""
        # Many receivers want a key of their own in the query, so that is no mistake here.
        address = self.url.partition("?")[0]
        for problem, hint in url_problems(address, ("https", "http")):
            has_user = "user name" in problem
            yield Contradiction("url", problem, "a webhook has none; `secret` signs its requests" if has_user else hint)
        if has_control(self.url) and not has_control(address):
            yield Contradiction("url", *CONTROL)
        if self.ca_file is not None and self.url.startswith("http://"):
            yield Contradiction("ca_file", "is never used with http://", "use https://, or remove it")
        if self.old_secret is not None and self.secret is None:
            yield Contradiction("secret", "is missing", "old_secret is for the time in which it is changed")
        for one in self.filters:
            if wrong := unusable(one):
                yield Contradiction("filters", f"has {one[:100]!r}, {wrong[0]}", wrong[1])
        for name, secret in (("secret", self.secret), ("old_secret", self.old_secret)):
            if secret is not None and secret.kind == "literal":
                try:
                    signing_key(secret.resolve())
                except ValueError as error:
                    yield Contradiction(name, str(error), MAKE_SECRET)
                except ConfigError:
                    pass  # said of every literal

    def warnings(self, key: str) -> Iterator[str]:
        """Yield what works but should not stay so. `key`: the dotted key of these settings."""
        yield from file_warnings(self, key)
        if self.url.startswith("http://") and not is_near(urlsplit(self.url).hostname or ""):
            yield f"{key} sends texts over the internet in plain text: use https://"


def signing_key(secret: str) -> bytes:
    """Return the key in the secret of a webhook. Raises ValueError, which says what is wrong."""
    encoded = secret.removeprefix("whsec_")
    if encoded == secret:
        raise ValueError("does not begin with whsec_")
    try:
        key = binascii.a2b_base64(encoded, strict_mode=True)
    except ValueError:
        raise ValueError("is not base64 after whsec_") from None
    if len(key) not in KEY_BYTES:
        raise ValueError(f"holds a key of {len(key)} bytes")
    return key
