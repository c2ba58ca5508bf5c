"""The settings of a backend that speaks Suki."""

from collections.abc import Iterator
from typing import Literal

from msgspec import Struct

from flowpi.config.addresses import plain_text_warning, url_problems
from flowpi.config.backends.settings import Contradiction
from flowpi.config.secret import Secret
from flowpi.config.types import Text


class SukiSettings(Struct, frozen=True, forbid_unknown_fields=True, tag="suki", tag_field="kind"):
    """Suki's dictation streaming. `audio_key`: the member that holds the audio; the service's pages name both."""

    partner_id: Text
    partner_token: Secret
    url: Text = "https://sdp.suki.ai"
    provider_id: Text | None = None
    language: Text = "en-US"
    audio_key: Literal["audioData", "data"] = "audioData"
    ca_file: Text | None = None

    @property
    def endpoint(self) -> str:
        return self.url

    @property
    def on_this_machine(self) -> bool:
        return False

    def contradictions(self) -> Iterator[Contradiction]:
        for problem, hint in url_problems(self.url, ("https", "http")):
            yield Contradiction("url", problem, hint)

    def warnings(self, key: str) -> Iterator[str]:
        if self.url.startswith("http://"):
            yield from plain_text_warning(key, self.url, "https")
