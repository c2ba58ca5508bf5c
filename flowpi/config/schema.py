"""What the owner can set, as types: every key with its default, its range and its meaning.

`config/flowpi.yaml` is the same for a reader, and a test keeps the two equal. This module reads no file and prints
nothing: `loading.py` reads, `checks.py` says what is wrong. A `Config` made in code is not checked.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from flowpi.config.backends import AnyBackendSettings
from flowpi.config.backends.flow import LOCAL_URL, FlowSettings
from flowpi.config.secret import Secret
from flowpi.config.types import Text, Words
from flowpi.core.hints import Hints

AT_START = Meta(extra={"reload": False})
"""Marks a key that counts from the next start: `config/reload.py` keeps its value at a reload."""
AT_START_OF_SERVER = Meta(extra={"reload": None})
"""Marks the keys of `flowpi serve`, which the daemon does not read."""

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
    backends: dict[str, AnyBackendSettings] = {}
    context: Hints = Hints()
    publish: PublishSettings = PublishSettings()
    spool: SpoolSettings = SpoolSettings()
    server: Annotated[ServerSettings, AT_START_OF_SERVER] = ServerSettings()

    def __post_init__(self) -> None:
        self.backends.setdefault("local", FlowSettings(LOCAL_URL))
