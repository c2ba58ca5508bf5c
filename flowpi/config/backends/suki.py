"""The settings of a backend that speaks Suki."""

from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Struct

from flowpi.config.addresses import plain_text_warning, url_problems
from flowpi.config.backends.settings import Contradiction
from flowpi.config.secret import Secret
from flowpi.config.types import Text, setting


class SukiSettings(Struct, frozen=True, forbid_unknown_fields=True, tag="suki", tag_field="kind"):
    """Suki's dictation streaming."""

    partner_id: Annotated[Text, setting("from Suki")]
    partner_token: Annotated[Secret, setting("a secret")]
    url: Annotated[Text, setting("or `https://sdp.suki-stage.com`: Suki says which")] = "https://sdp.suki.ai"
    provider_id: Annotated[Text | None, setting("for partners with a Single Auth Token")] = None
    language: Annotated[Text, setting("the only one that Suki documents")] = "en-US"
    audio_key: Annotated[
        Literal["audioData", "data"],
        setting("`audioData` or `data`: the member that holds the audio; the service's pages name both"),
    ] = "audioData"
    ca_file: Annotated[Text | None, setting("PEM: an authority to trust beside those of the system")] = None

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
