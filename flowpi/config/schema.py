"""What the owner can set, as types: every key with its default, its range and its meaning.

`config/flowpi.yaml` is the same for a reader, and a test keeps the two equal. This module reads no file and prints
nothing: `loading.py` reads, `checks.py` says what is wrong. A `Config` made in code is not checked.
"""

import os
from typing import Annotated, Literal, final

from msgspec import Meta, Struct, field

from flowpi.core.errors import ConfigError
from flowpi.core.hints import Hints

LOCAL_URL = "ws+unix:///run/flowpi/asr.sock"
MAX_SECRET_BYTES = 64 * 1024
"""A token is a few KB; a larger file is the wrong file."""

AT_START = Meta(extra={"reload": False})
"""Marks a key that counts from the next start: `config/reload.py` keeps its value at a reload."""
AT_START_OF_SERVER = Meta(extra={"reload": None})
"""Marks the keys of `flowpi serve`, which the daemon does not read."""

Text = Annotated[str, Meta(min_length=1)]
Words = Annotated[tuple[Text, ...], Meta(min_length=1)]
GpioPin = Annotated[int, Meta(ge=0, le=27)]  # BCM numbers on the 40-pin header
Address = Annotated[str, Meta(pattern=r"^(unix:.+|\S+:\d{1,5})$", description="HOST:PORT or unix:PATH")]
KeyName = Annotated[str, Meta(pattern=r"^(KEY|BTN)_[A-Z0-9_]+$", description="a name such as KEY_F13 or BTN_LEFT")]
SpiNumber = Annotated[int, Meta(ge=0, le=9)]  # of /dev/spidevBUS.DEVICE
TimeOfDay = Annotated[
    str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$", description='a time of day in quotes, such as "22:00"')
]
Layout = Annotated[str, Meta(pattern=r"^[a-z]{2,8}$", description="a layout such as us or de")]
# No separator and no wildcard of an MQTT topic.
TopicLevel = Annotated[str, Meta(pattern=r"^[^/+#\s\x00-\x1f]{1,64}$", description="a word without / + # and spaces")]


@final
class Secret:
    """A password or key, or the place where it is kept. Shows itself only in `resolve()`.

    Attributes:
        kind: `literal`, or where it is kept: `credential` (of systemd), `file`, `env`.
        name: of the credential, file or variable; empty for a literal.
    """

    __slots__ = ("_literal", "kind", "name")

    def __init__(self, kind: Literal["literal", "credential", "file", "env"], value: str) -> None:
        self.kind = kind
        self.name = "" if kind == "literal" else value
        self._literal = value if kind == "literal" else ""

    @classmethod
    def parse(cls, value: object) -> "Secret":
        """From the form in the configuration: text, or a mapping of one place to its name.

        Raises:
            ValueError: neither of these.
        """
        match value:
            case str(literal) if literal:
                return cls("literal", literal)
            case {"credential": str(name), **rest} if name and "/" not in name and not rest:
                return cls("credential", name)
            case {"file": str(name), **rest} if name and not rest:
                return cls("file", name)
            case {"env": str(name), **rest} if name and not rest:
                return cls("env", name)
        raise ValueError("not a secret")

    def resolve(self) -> str:
        """The secret itself, read anew each time: a rotated file counts from the next use.

        Raises:
            ConfigError: it is not there, is empty, or is more than one line (it would break out of a header).
        """
        if self.kind == "literal":
            return self._printable(self._literal)
        if self.kind == "env":
            if self.name not in os.environ:
                raise self._error(f"${self.name} is not set", "set it in the environment of flowpi")
            return self._printable(os.environ[self.name])
        path = self.name
        if self.kind == "credential":
            directory = os.environ.get("CREDENTIALS_DIRECTORY")
            if not directory:
                hint = f"{self._load_hint()}, or use {{file: PATH}}"
                raise self._error("systemd passed no credentials ($CREDENTIALS_DIRECTORY is not set)", hint)
            path = os.path.join(directory, self.name)
        return self._printable(self._read(path))

    def _read(self, path: str) -> str:
        try:
            with open(path, "rb") as file:
                content = file.read(MAX_SECRET_BYTES + 1)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a path"
            hint = "check that the path is right and the user of flowpi may read it"
            if self.kind == "credential":
                hint = self._load_hint()
            raise self._error(f"cannot read it ({reason})", hint) from None
        if len(content) > MAX_SECRET_BYTES:
            raise self._error("the file is too large for a secret", "put only the secret into it")
        return content.decode("utf-8", "replace")

    def _load_hint(self) -> str:
        if self.name.startswith("flowpi_"):  # from the boot partition, and systemd passes it at a start
            return "restart flowpi"
        return f"add LoadCredential={self.name}:PATH to the unit"

    def _printable(self, text: str) -> str:
        text = text.strip()
        if not text:
            raise self._error("it is empty", "put the secret there")
        if not text.isprintable() or "\ufffd" in text:
            raise self._error("it is not one line of text", "put only the secret there")
        return text

    def _error(self, problem: str, hint: str) -> ConfigError:
        return ConfigError("secret " + str(self), None, "", problem, hint)

    def masked(self) -> str | dict[str, str]:
        """The form in the configuration, without the secret itself."""
        return "***" if self.kind == "literal" else {self.kind: self.name}

    def __repr__(self) -> str:
        return f"Secret({self})"

    def __str__(self) -> str:
        return "***" if self.kind == "literal" else f"{{{self.kind}: {self.name}}}"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return (self.kind, self.name, self._literal) == (other.kind, other.name, other._literal)

    def __hash__(self) -> int:
        return hash((self.kind, self.name, self._literal))


class AudioSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The microphone. Times are how ALSA and the loop share the work: see `audio/`."""

    source: Literal["alsa", "wav"] = "alsa"
    device: Text = "default"
    path: Text | None = None
    rate: Annotated[int, Meta(ge=8000, le=192_000)] = 16_000
    channels: Annotated[int, Meta(ge=1, le=32)] = 1
    channel: Literal["mix"] | Annotated[int, Meta(ge=0, le=31)] = "mix"
    period_ms: Annotated[int, Meta(ge=5, le=100)] = 20
    buffer_ms: Annotated[int, Meta(ge=100, le=5000)] = 1000
    read_ms: Annotated[int, Meta(ge=10, le=1000)] = 100
    idle_read_ms: Annotated[int, Meta(ge=10, le=2500)] = 500
    preroll_ms: Annotated[int, Meta(ge=0, le=5000)] = 300
    postroll_ms: Annotated[int, Meta(ge=0, le=5000)] = 200


class ButtonSettings(Struct, frozen=True, forbid_unknown_fields=True):
    kind: Literal["gpio", "evdev", "none"] = "gpio"
    pin: GpioPin = 17
    active: Literal["low", "high"] = "low"
    debounce_ms: Annotated[int, Meta(ge=0, le=200)] = 15
    device: Text | None = None
    key: KeyName | None = None
    mode: Literal["auto", "hold", "toggle"] = "auto"
    hold_ms: Annotated[int, Meta(ge=50, le=2000)] = 300
    double_ms: Annotated[int, Meta(ge=0, le=2000)] = 400
    long_s: Annotated[float, Meta(ge=0, le=60)] = 10


class NightSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """From one time of day to another, by the wall clock of the machine; `to` may be on the next day."""

    start: TimeOfDay = field(default="22:00", name="from")
    to: TimeOfDay = "07:00"
    brightness: Annotated[float, Meta(ge=0, le=1)] = 0.1


class LedSettings(Struct, frozen=True, forbid_unknown_fields=True):
    kind: Literal["gpio", "rgb", "apa102", "none"] = "gpio"
    pin: GpioPin = 27
    pins: tuple[GpioPin, GpioPin, GpioPin] | None = None
    spi: tuple[SpiNumber, SpiNumber] = (0, 0)
    count: Annotated[int, Meta(ge=1, le=256)] = 1
    brightness: Annotated[float, Meta(ge=0, le=1)] = 1.0
    night: NightSettings | None = None


class CueSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Short tones for who does not see the LED."""

    kind: Literal["none", "alsa"] = "none"
    device: Text = "default"
    volume: Annotated[float, Meta(ge=0, le=1)] = 0.5


class DictationSettings(Struct, frozen=True, forbid_unknown_fields=True):
    backends: Words = ("local",)
    max_utterance_s: Annotated[int, Meta(ge=5, le=3600)] = 330
    first_result_timeout_s: Annotated[float, Meta(ge=1, le=600)] = 20


class TokenSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How to get a short-lived client key: from `url`, where `api_key` may be needed, or by `command`; never both."""

    url: Text | None = None
    api_key: Secret | None = None
    command: Words | None = None
    client_id: Text | None = None
    duration_s: Annotated[int, Meta(ge=60, le=86_400)] = 3600


class FlowSettings(Struct, frozen=True, forbid_unknown_fields=True, tag="flow", tag_field="kind"):
    """A service that speaks the Flow dialect: Wispr's, or `flowpi serve` here or on another machine."""

    url: Text
    encoding: Literal["msgpack", "json"] = "msgpack"
    client_key: Secret | None = None
    api_key: Secret | None = None
    bearer: bool = True
    token: TokenSettings | None = None
    language: tuple[Text, ...] = ("en",)
    packet_ms: Annotated[int, Meta(ge=10, le=1000)] = 100
    # 5 s is 160 KB of PCM and 213 KB as base64: one append stays under a frame of 256 KiB.
    append_ms: Annotated[int, Meta(ge=10, le=5000)] = 1000
    audio: Literal["wav", "pcm"] = "wav"
    warm_up_s: Annotated[int, Meta(ge=0, le=86_400)] = 0
    ca_file: Text | None = None


class SukiSettings(Struct, frozen=True, forbid_unknown_fields=True, tag="suki", tag_field="kind"):
    """Suki's dictation streaming. `audio_key`: the member that holds the audio; the service's pages name both."""

    partner_id: Text
    partner_token: Secret
    url: Text = "https://sdp.suki.ai"
    provider_id: Text | None = None
    language: Text = "en-US"
    audio_key: Literal["audioData", "data"] = "audioData"
    ca_file: Text | None = None


Backend = FlowSettings | SukiSettings


class SocketSettings(Struct, frozen=True, forbid_unknown_fields=True):
    path: Text | None = None
    group: Text | None = "flowpi"


class FilesSettings(Struct, frozen=True, forbid_unknown_fields=True):
    directory: Text | None = None
    keep_days: Annotated[int, Meta(ge=1, le=36_500)] = 30


class PublishSettings(Struct, frozen=True, forbid_unknown_fields=True):
    socket: Annotated[SocketSettings, AT_START] = SocketSettings()
    files: Annotated[FilesSettings, AT_START] = FilesSettings()


class SpoolSettings(Struct, frozen=True, forbid_unknown_fields=True):
    directory: Annotated[Text | None, AT_START] = None
    max_mb: Annotated[int, Meta(ge=1, le=1_000_000)] = 512
    sync_ms: Annotated[int, Meta(ge=0, le=60_000), AT_START] = 1000
    keep_audio: Annotated[bool, AT_START] = False


class TlsSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """PEM files: the certificate with its chain, and its key."""

    certificate: Text | None = None
    key: Text | None = None


class ServerSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """`api_keys`: of organisations, for Flow. `partners`: the partner token of each partner id, for Suki."""

    listen: Annotated[tuple[Address, ...], Meta(min_length=1)] = ("unix:/run/flowpi/asr.sock",)
    engine: Literal["moonshine", "echo"] = "moonshine"
    strict: bool = False
    max_sessions: Annotated[int, Meta(ge=1, le=1000)] = 16
    api_keys: tuple[Secret, ...] = ()
    partners: dict[str, Secret] = {}
    tls: TlsSettings = TlsSettings()


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """Everything.

    What `board` sets is in the other keys already. `backends` always has `local`: the owner's, or else the recogniser
    on this machine.
    """

    device_id: Annotated[TopicLevel | None, AT_START] = None
    board: Literal["plain", "respeaker-2mic", "aiy-voice-kit"] | None = None
    audio: AudioSettings = AudioSettings()
    button: ButtonSettings = ButtonSettings()
    led: LedSettings = LedSettings()
    cues: CueSettings = CueSettings()
    dictation: DictationSettings = DictationSettings()
    backends: dict[str, Backend] = {}
    context: Hints = Hints()
    publish: PublishSettings = PublishSettings()
    spool: SpoolSettings = SpoolSettings()
    server: Annotated[ServerSettings, AT_START_OF_SERVER] = ServerSettings()

    def __post_init__(self) -> None:
        self.backends.setdefault("local", FlowSettings(LOCAL_URL))
