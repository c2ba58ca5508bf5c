"""The settings, as types: every key with its default, its range, its meaning, and whether a reload applies it.

These types are the only source of all this: the JSON Schema comes from them, and `docs/make_configuration.py` writes
`config/flowpi.yaml` and `docs/configuration.md`. This module reads no file and prints nothing: `loading.py` reads,
`checks.py` says what is wrong. A `Config` made in code is not checked.
"""

import itertools
from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from flowpi.config.backends import AnyBackendSettings
from flowpi.config.backends.flow import LOCAL_URL, FlowSettings
from flowpi.config.command import CommandSettings
from flowpi.config.keyboard import KeyboardSettings
from flowpi.config.mqtt import MqttSettings
from flowpi.config.profiles import ProfileSettings
from flowpi.config.secret import Secret
from flowpi.config.text import TextSettings
from flowpi.config.types import (
    Address,
    GpioPin,
    KeyName,
    LanguageCode,
    SpiNumber,
    Text,
    TimeOfDay,
    TopicLevel,
    Vocabulary,
    Words,
    setting,
)
from flowpi.config.webhooks import WebhookSettings
from flowpi.core.hints import Hints
from flowpi.core.phrases import FEWEST_LETTERS, usable
from flowpi.core.profiles import GestureProfiles


class AudioSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The microphone."""

    source: Annotated[
        Literal["alsa", "wav"], setting("`alsa`, or `wav`: plays the file at `path` once from the start, then silence")
    ] = "alsa"
    device: Annotated[
        Text,
        setting(
            "ALSA name, as `arecord -L` shows it, best by card: `plughw:CARD=Device`; or by USB port: `usb:1-1.2`, see "
            "[microphones](hardware.md#usb-microphones); `default`, if it does not open: the only card that records"
        ),
    ] = "default"
    path: Annotated[Text | None, setting("path of the sound file")] = None
    rate: Annotated[
        int, setting("the rate in Hz to ask the device for; resampled to 16 kHz when it differs", ge=8000, le=192_000)
    ] = 16_000
    channels: Annotated[int, setting("how many to ask the device for", ge=1, le=32)] = 1
    channel: Annotated[
        Literal["mix"] | Annotated[int, Meta(ge=0, le=31)], setting("`mix`, or the number of the one to hear, from 0")
    ] = "mix"
    gain_db: Annotated[
        float,
        setting(
            "makes what is heard louder, in dB, if the microphone's own gain is not enough; of a device with more than "
            "16 bits, it uses all of them; what exceeds full scale is clipped",
            ge=-20,
            le=40,
        ),
    ] = 0
    denoise: Annotated[
        Literal["none", "speex"],
        setting(
            "`speex`: less steady noise for the recogniser on this machine; no cloud service gets it, and what is kept "
            "is what was heard"
        ),
    ] = "none"
    period_ms: Annotated[int, setting("what ALSA moves at once; at most so much is lost at the end", ge=5, le=100)] = 20
    buffer_ms: Annotated[int, setting("how long a busy Pi may look away before sound is lost", ge=100, le=5000)] = 1000
    read_ms: Annotated[int, setting("how often to read at most while recording", ge=10, le=1000)] = 100
    idle_read_ms: Annotated[
        int, setting("how often to read while idle; not at all without `preroll_ms`", ge=10, le=2500)
    ] = 500
    preroll_ms: Annotated[
        int,
        setting("sound from before the press, in memory only; 0: none, and the device opens on press", ge=0, le=5000),
    ] = 300
    postroll_ms: Annotated[int, setting("sound from after the release", ge=0, le=5000)] = 200


class ButtonSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What a press is made with, and what it means."""

    kind: Annotated[
        Literal["gpio", "evdev", "none"],
        setting("`gpio`, `evdev`: a pedal, a dictation microphone, any key of an input device, or `none`"),
    ] = "gpio"
    pin: Annotated[GpioPin, setting("BCM number; the button connects it to ground")] = 17
    active: Annotated[Literal["low", "high"], setting("`low`: to ground, `high`: to 3.3 V")] = "low"
    debounce_ms: Annotated[int, setting("how long the contact may bounce", ge=0, le=200)] = 15
    device: Annotated[
        Text | None, setting("for `evdev`: best one of `/dev/input/by-id/*`; no other program gets its keys")
    ] = None
    key: Annotated[KeyName | None, setting("for `evdev`: `KEY_F13`, `BTN_LEFT` ..., as `evtest` shows it")] = None
    mode: Annotated[
        Literal["auto", "hold", "toggle"],
        setting("`hold`: talk while held, `toggle`: press, talk, press, or `auto`: both, told apart by `hold_ms`"),
    ] = "auto"
    hold_ms: Annotated[int, setting("a shorter press is a tap", ge=50, le=2000)] = 300
    double_ms: Annotated[
        int, setting("from one tap to the next, to cancel what is being said; 0: there is no double tap", ge=0, le=2000)
    ] = 400
    long_s: Annotated[
        float,
        setting("a press that lasts so long mutes or unmutes, unless it is spoken into; 0: none does", ge=0, le=60),
    ] = 10
    profiles: Annotated[
        GestureProfiles,
        setting(
            "which of `profiles` a gesture begins with: `{hold: german, tap: german, double: code}`; with `double`, a "
            "double tap cancels nothing"
        ),
    ] = GestureProfiles()


class NightSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """From one time of day to another, by the wall clock of the machine; `to` may be on the next day."""

    start: TimeOfDay = field(default="22:00", name="from")
    to: TimeOfDay = "07:00"
    brightness: Annotated[float, Meta(ge=0, le=1)] = 0.1


class LedSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What shows the state of the appliance."""

    kind: Annotated[
        Literal["gpio", "rgb", "apa102", "none"],
        setting("`gpio`, `rgb`, `apa102`: the LEDs on many microphone boards, by SPI, or `none`"),
    ] = "gpio"
    pin: Annotated[GpioPin, setting("for `gpio`: BCM number")] = 27
    pins: Annotated[
        tuple[GpioPin, GpioPin, GpioPin] | None, setting("for `rgb`: BCM numbers of red, green and blue")
    ] = None
    spi: Annotated[tuple[SpiNumber, SpiNumber], setting("for `apa102`: bus and device, `/dev/spidev0.0`")] = (0, 0)
    count: Annotated[int, setting("for `apa102`: how many there are in a row; all show the same", ge=1, le=256)] = 1
    brightness: Annotated[float, setting("of all patterns", ge=0, le=1)] = 1.0
    night: Annotated[
        NightSettings | None,
        setting(
            'another brightness for the night: `{from: "22:00", to: "07:00", brightness: 0.1}`, by the clock of this '
            "machine"
        ),
    ] = None


class CueSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Short tones at start, stop, kept and error. They are never in a recording."""

    kind: Annotated[Literal["none", "alsa"], setting("`none` or `alsa`")] = "none"
    device: Annotated[Text, setting("where to play them: any ALSA PCM, as `aplay -L` shows")] = "default"
    volume: Annotated[float, setting("of all tones", ge=0, le=1)] = 0.5


class DictationSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """From the speech to its text."""

    backends: Annotated[Words, setting("names from `backends`, best first; the next is tried when one fails")] = (
        "local",
    )
    max_utterance_s: Annotated[int, setting("longer speech goes on in a next part", ge=5, le=3600)] = 330
    first_result_timeout_s: Annotated[
        float,
        setting(
            "how long to wait for the text after the release, or after the last sign that the backend works on it, "
            "before the next backend is tried",
            ge=1,
            le=600,
        ),
    ] = 20


class SocketSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The local socket."""

    path: Annotated[Text | None, setting("null: `/run/flowpi/flowpi.sock`", applied="start")] = None
    group: Annotated[
        Text | None,
        setting(
            "who may connect; null: only flowpi and root; another group needs what `sudo flowpi doctor` says",
            applied="start",
        ),
    ] = "flowpi"


class FilesSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The transcripts."""

    directory: Annotated[Text | None, setting("null: `/var/lib/flowpi/transcripts`", applied="start")] = None
    keep_days: Annotated[
        int,
        setting(
            "older transcripts, kept audio, and what is in quarantine and has its text, are deleted, once the clock "
            "has said so for a day",
            applied="start",
            ge=1,
            le=36_500,
        ),
    ] = 30


class PublishSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where texts go."""

    max_lag_days: Annotated[
        int,
        setting(
            "transcripts that a sink still has to receive are kept for so long, also beyond `keep_days`; then they are "
            "deleted, and a fault says so",
            ge=1,
            le=36_500,
        ),
    ] = 30
    webhooks: Annotated[
        dict[str, WebhookSettings],
        setting("receivers of texts by HTTP: `{NAME: {url: ..., secret: ...}}`, see [webhooks](webhooks.md)"),
    ] = {}
    socket: SocketSettings = SocketSettings()
    files: FilesSettings = FilesSettings()
    mqtt: MqttSettings = MqttSettings()
    command: CommandSettings = CommandSettings()
    keyboard: KeyboardSettings = KeyboardSettings()


class SpoolSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Audio whose text has not arrived yet."""

    directory: Annotated[Text | None, setting("null: `/var/lib/flowpi/spool`", applied="start")] = None
    max_mb: Annotated[
        int,
        setting(
            "all of the spool; more stays in memory, and nothing that has no text is deleted to make room",
            ge=1,
            le=1_000_000,
        ),
    ] = 512
    sync_ms: Annotated[
        int, setting("at most so much speech is lost when the power fails", applied="start", ge=0, le=60_000)
    ] = 1000
    keep_audio: Annotated[bool, setting("true: keep the audio as WAV after the text has arrived", applied="start")] = (
        False
    )


class TlsSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The certificate of the recogniser on the network."""

    certificate: Annotated[
        Text | None,
        setting("PEM file, with its chain; then `HOST:PORT` speaks `https` and `wss` only", applied="server"),
    ] = None
    key: Annotated[Text | None, setting("PEM file, with no password", applied="server")] = None


class ServerSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """`flowpi serve`, the recogniser. It reads its keys when it starts."""

    listen: Annotated[
        tuple[Address, ...],
        setting("`unix:PATH`, `127.0.0.1:PORT`; with keys any `HOST:PORT`", applied="server", min_length=1),
    ] = ("unix:/run/flowpi/asr.sock",)
    engine: Annotated[
        Literal["auto", "moonshine", "whisper", "sherpa", "echo"],
        setting(
            "`auto`: by the files of `model`; `moonshine`, `whisper` or `sherpa`, see [models](models.md); or `echo`: "
            "for tests, says what it heard and not what was said",
            applied="server",
        ),
    ] = "auto"
    model: Annotated[
        Text | None,
        setting(
            "directory with the model, readable for flowpi-asr; null: the larger one of the two that are installed",
            applied="server",
        ),
    ] = None
    interim_model: Annotated[
        Text | None,
        setting(
            "directory with a smaller model for the texts while you speak, for `moonshine` only; null: the small one "
            "that is installed, if this machine needs it",
            applied="server",
        ),
    ] = None
    languages: Annotated[
        tuple[LanguageCode, ...],
        setting(
            "languages that people speak, such as `[en, de]`; empty: all that the model understands. A model whose "
            "files do not say its languages needs them",
            applied="server",
        ),
    ] = ()
    vocabulary: Annotated[
        Vocabulary,
        setting(
            "names and words to listen for, with those in the `context` of a dictation, at most 200; final texts then "
            "need up to a third more computing time",
            applied="server",
        ),
    ] = ()
    strict: Annotated[bool, setting("true: refuse what the documented protocol does not allow", applied="server")] = (
        False
    )
    max_sessions: Annotated[
        Literal["auto"] | Annotated[int, Meta(ge=1, le=1000)],
        setting(
            "how many (1 to 1000) on HOST:PORT, and as many on Unix sockets; one more is turned away. `auto`: 30 for "
            "each CPU that it may use, at most 240",
            applied="server",
        ),
    ] = "auto"
    api_keys: Annotated[
        tuple[Secret, ...],
        setting(
            "secrets: keys of organisations that may use it, for Flow; with neither these nor `partners` it accepts "
            "everybody",
            applied="server",
        ),
    ] = ()
    partners: Annotated[
        dict[str, Secret],
        setting("`{partner_id: secret}`: partner tokens that may use it, for Suki", applied="server"),
    ] = {}
    tls: TlsSettings = TlsSettings()

    def warnings(self) -> Iterator[str]:
        """Yield what works but should not stay so, of the values of these settings alone."""
        for phrase in self.vocabulary:
            if usable(phrase) is None:
                problem = f"{phrase!r} has fewer than {FEWEST_LETTERS} letters and does nothing"
                yield f"server.vocabulary: {problem}: remove it"


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole configuration.

    What `board` sets is in the other keys already. `backends` always has `local`: as configured, or else the recogniser
    on this machine.
    """

    device_id: Annotated[TopicLevel | None, setting("name of this appliance; null: the host name", applied="start")] = (
        None
    )
    board: Annotated[
        Literal["plain", "respeaker-2mic", "respeaker-2mic-v1", "respeaker-2mic-v2", "i2s-mic", "aiy-voice-kit"] | None,
        setting(
            "what is on the pins of the Pi: another default for keys of `audio`, `button`, `led` and `cues`, see "
            "[boards](hardware.md#boards); null: none"
        ),
    ] = None
    audio: AudioSettings = AudioSettings()
    button: ButtonSettings = ButtonSettings()
    led: LedSettings = LedSettings()
    cues: CueSettings = CueSettings()
    dictation: DictationSettings = DictationSettings()
    backends: dict[str, AnyBackendSettings] = {}
    context: Annotated[
        Hints,
        setting("sent along to the service: `{dictionary_context: [Gabapentin], user_first_name: Ada}`"),
    ] = Hints()
    text: TextSettings = TextSettings()
    profiles: Annotated[
        dict[str, ProfileSettings],
        setting("ways of dictating: `{NAME: {language: [de], text: {...}}}`, see [profiles](profiles.md)"),
    ] = {}
    publish: PublishSettings = PublishSettings()
    spool: SpoolSettings = SpoolSettings()
    server: ServerSettings = ServerSettings()

    def __post_init__(self) -> None:
        self.backends.setdefault("local", FlowSettings(LOCAL_URL))

    @property
    def backends_in_use(self) -> tuple[str, ...]:
        """The names of the backends that some dictation asks, each once: those without a profile come first."""
        by_profile = (profile.backends or () for profile in self.profiles.values())
        return tuple(dict.fromkeys(itertools.chain(self.dictation.backends, *by_profile)))

    def without_sink(self, name: str) -> frozenset[str]:
        """Return the profiles whose texts a sink does not get."""
        return frozenset(
            profile for profile, one in self.profiles.items() if one.sinks is not None and name not in one.sinks
        )

    @property
    def sinks(self) -> tuple[str, ...]:
        """The names of the sinks that are configured, as `flowpi sinks` shows them."""
        publish = self.publish
        single = {
            "mqtt": publish.mqtt.url is not None,
            "command": publish.command.run is not None,
            "keyboard": publish.keyboard.kind != "none",
        }
        used = [name for name, is_used in single.items() if is_used]
        return (*used, *(f"webhook.{name}" for name in publish.webhooks))
