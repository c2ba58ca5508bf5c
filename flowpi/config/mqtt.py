"""The settings of the MQTT sink: where the broker is, who flowpi is there, and what it publishes and accepts."""

import contextlib
from collections.abc import Iterator
from typing import Annotated, Literal, NamedTuple
from urllib.parse import urlsplit

from msgspec import Struct

from flowpi.config.addresses import CONTROL, has_control, is_loopback, url_problems
from flowpi.config.secret import Secret, file_warnings
from flowpi.config.types import Text, TopicPrefix, setting
from flowpi.core.errors import ConfigError

SCHEMES = ("mqtt", "mqtts", "ws", "wss", "unix")
TLS_SCHEMES = ("mqtts", "wss")


MAX_BYTES = 65_535
"""The longest name or password: its length is sent in two bytes (MQTT 5, section 1.5)."""

SHORTER = "choose a shorter one"


class MqttContradiction(NamedTuple):
    """A setting of MQTT that cannot be used as it is; `setting` is its key below `publish.mqtt`."""

    setting: str
    problem: str
    hint: str


class MqttSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """MQTT 5, for Home Assistant and others: see `docs/mqtt.md`. Off without a `url`."""

    url: Annotated[
        Text | None,
        setting(
            "the broker: `mqtt://HOST`, `mqtts://` with TLS, `ws://` or `wss://`, or `unix:///PATH`; null: no MQTT"
        ),
    ] = None
    username: Annotated[Text | None, setting("as whom to log in; null: without a name")] = None
    password: Annotated[Secret | None, setting("a secret, for `username`")] = None
    ca_file: Annotated[Text | None, setting("PEM: an authority to trust beside those of the system")] = None
    certificate: Annotated[
        Text | None, setting("PEM file, with its chain: who this appliance is, for a broker that asks for that")
    ] = None
    key: Annotated[Text | None, setting("PEM file, with no password: the key of `certificate`")] = None
    topic_prefix: Annotated[TopicPrefix, setting("what stands before `/DEVICE_ID/` in each topic")] = "flowpi"
    partial: Annotated[bool, setting("true: publish what is understood so far, too; it is most of the traffic")] = False
    last: Annotated[
        bool, setting("true: keep the newest text at the broker, in `transcript/last`, for whoever asks later")
    ] = False
    commands: Annotated[
        tuple[Literal["record", "spool"], ...],
        setting(
            "what the broker's users may do: `record` starts and stops the microphone, `spool` tries kept dictations "
            "again; `[]`: nothing"
        ),
    ] = ()
    discovery: Annotated[bool, setting("announce this appliance to Home Assistant")] = True
    discovery_prefix: Annotated[TopicPrefix, setting("where Home Assistant looks for devices")] = "homeassistant"

    def contradictions(self) -> Iterator[MqttContradiction]:
        """Yield what makes these settings unusable, and what to do."""
        if self.url is None:
            return
        problems = list(url_problems(self.url, SCHEMES))
        for problem, hint in problems:
            yield MqttContradiction("url", problem, hint)
        if problems:
            return
        scheme = urlsplit(self.url).scheme
        if scheme in ("mqtt", "mqtts") and urlsplit(self.url).path not in ("", "/"):
            yield MqttContradiction("url", "names a path, which only ws:// and wss:// have", "remove it")
        if self.password is not None and self.username is None:
            yield MqttContradiction("username", "is missing", "publish.mqtt.password needs it")
        if self.username is not None and has_control(self.username):
            yield MqttContradiction("username", *CONTROL)
        if self.username is not None and (problem := too_long(self.username)):
            yield MqttContradiction("username", problem, SHORTER)
        if self.password is not None and self.password.kind == "literal":
            with contextlib.suppress(ConfigError):  # said of every literal
                if problem := too_long(self.password.resolve()):
                    yield MqttContradiction("password", problem, SHORTER)
        if (self.certificate is None) != (self.key is None):
            missing, there = ("certificate", "key") if self.certificate is None else ("key", "certificate")
            yield MqttContradiction(missing, "is missing", f"publish.mqtt.{there} needs it: name a PEM file")
        prefixes = [f"{self.topic_prefix}/", f"{self.discovery_prefix}/"]
        if self.discovery and max(prefixes, key=len).startswith(min(prefixes, key=len)):
            problem = f"{self.topic_prefix!r} and publish.mqtt.discovery_prefix {self.discovery_prefix!r} overlap"
            yield MqttContradiction("topic_prefix", problem, "neither may begin with the other")
        for name in ("ca_file", "certificate"):
            if getattr(self, name) is not None and scheme not in TLS_SCHEMES:
                yield MqttContradiction(name, f"is never used with {scheme}://", "use mqtts:// or wss://, or remove it")

    def warnings(self) -> Iterator[str]:
        """Yield what works but should not stay so."""
        if self.url is None:
            return
        yield from file_warnings(self, "publish.mqtt")
        parts = urlsplit(self.url)
        if parts.scheme in ("mqtt", "ws") and not is_loopback(parts.hostname or ""):
            what = "its password and all texts" if self.password else "all texts"
            secure = "mqtts" if parts.scheme == "mqtt" else "wss"
            yield f"publish.mqtt sends {what} over the network in plain text: use {secure}://"


def too_long(text: str) -> str:
    """Return what is wrong with a name or a password that is longer than MQTT can send; empty for others."""
    size = len(text.encode(errors="surrogatepass"))
    return f"is {size} bytes long, and MQTT sends {MAX_BYTES} at most" if size > MAX_BYTES else ""
