"""The rules about two keys of a configuration, which no type can say."""

import re
from collections.abc import Iterator

from flowpi.config.addresses import is_loopback
from flowpi.config.boards import SOUND_PINS
from flowpi.config.schema import Config
from flowpi.core.nearest import nearest

Key = tuple[str, ...]
"""A dotted key, split at its dots; an item of a list is its index as text."""

SPI_PINS = (10, 11)
"""The pins for data and clock of SPI 0, in BCM numbers, which a row of LEDs uses."""


def contradictions(config: Config) -> Iterator[tuple[Key, str, str]]:
    """Yield key, problem and hint of every two settings that exclude each other."""
    audio, button, led = config.audio, config.button, config.led
    if audio.source == "wav" and audio.path is None:
        yield ("audio", "path"), "is missing", "audio.source wav plays a file: say which"
    if isinstance(audio.channel, int) and audio.channel >= audio.channels:
        hint = f"channels count from 0: set it below {audio.channels}, or raise audio.channels"
        yield ("audio", "channel"), f"{audio.channel} does not exist with audio.channels {audio.channels}", hint
    reads = {"period_ms": audio.period_ms * 2, "read_ms": audio.read_ms}
    if audio.preroll_ms:
        reads["idle_read_ms"] = audio.idle_read_ms
    for name, ms in reads.items():
        if ms * 2 > audio.buffer_ms:
            least = f"set audio.buffer_ms to at least {ms * 2}"
            yield ("audio", name), f"is too long for audio.buffer_ms {audio.buffer_ms}: sound would be lost", least
    yield from _of_gestures(config)
    if button.kind == "evdev":
        if button.device is None:
            yield ("button", "device"), "is missing", "button.kind evdev needs one of /dev/input/by-id/*"
        if button.key is None:
            yield ("button", "key"), "is missing", "button.kind evdev needs a key: `evtest DEVICE` shows its name"
    if led.kind == "rgb" and led.pins is None:
        yield ("led", "pins"), "is missing", "led.kind rgb needs three pins: [red, green, blue]"
    spi_pins = SPI_PINS if led.spi[0] == 0 else ()
    lights = {"gpio": (led.pin,), "rgb": led.pins or (), "apa102": spi_pins}.get(led.kind, ())
    if len(set(lights)) < len(lights):
        yield ("led", "pins"), "names a pin twice", "each colour needs its own"
    for pin, contact in _pins(config) if button.kind == "gpio" else ():
        if pin in lights:
            name = {"gpio": "pin", "rgb": "pins"}.get(led.kind, "spi")
            yield ("led", name), f"and {contact} are both {pin}", "wire them to two pins"
    for key, pin in _wires(config):
        if pin in SOUND_PINS.get(config.board or "", ()):
            hint = f"choose another: {config.board} needs {', '.join(map(str, SOUND_PINS[config.board or '']))}"
            yield key, f"{pin} carries the sound of the microphone", hint
    if button.long_s and button.long_s * 1000 <= button.hold_ms:
        hint = f"more than button.hold_ms {button.hold_ms}, or 0 for none"
        yield ("button", "long_s"), f"{button.long_s:g} is shorter than a press to talk", hint
    for index, name in enumerate(config.dictation.backends):
        if name not in config.backends:
            key = ("dictation", "backends", str(index))
            yield key, f"is {name!r}, which is not in backends", nearest(name, config.backends)
    for section, named in (("backends",), config.backends), (("publish", "webhooks"), config.publish.webhooks):
        for name, settings in named.items():
            yield from _of_name((*section, name))
            for setting, problem, hint in settings.contradictions():
                yield (*section, name, setting), problem, hint
    yield from _of_profiles(config)
    for setting, problem, hint in config.publish.mqtt.contradictions():
        yield ("publish", "mqtt", setting), problem, hint
    keys = config.server.api_keys or config.server.partners
    for index, address in enumerate(config.server.listen):
        if not address.startswith("unix:") and int(address.rpartition(":")[2]) > 65535:
            yield ("server", "listen", str(index)), f"is {address!r}, but ports end at 65535", "choose a lower port"
        elif not keys and not address.startswith("unix:") and not is_loopback(address.rpartition(":")[0]):
            hint = "set server.api_keys or server.partners, or listen on 127.0.0.1"
            yield ("server", "listen", str(index)), f"{address} is open to other machines, and no keys are set", hint
    tls = config.server.tls
    if (tls.certificate is None) != (tls.key is None):
        missing, there = ("certificate", "key") if tls.certificate is None else ("key", "certificate")
        yield ("server", "tls", missing), "is missing", f"server.tls.{there} needs it: name a PEM file"
    parts = (
        (("publish", "command"), config.publish.command),
        (("publish", "keyboard"), config.publish.keyboard),
        (("text",), config.text),
    )
    for part, asked in parts:
        for where, problem, hint in asked.contradictions():
            yield (*part, *where), problem, hint


def _of_name(key: Key) -> Iterator[tuple[Key, str, str]]:
    """Check the last of a key, which the user chose."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", key[-1]):
        yield key, "is not a good name", "use letters, digits, - and _"


def _of_profiles(config: Config) -> Iterator[tuple[Key, str, str]]:
    for name, profile in config.profiles.items():
        section = ("profiles", name)
        yield from _of_name(section)
        for index, backend in enumerate(profile.backends or ()):
            if backend not in config.backends:
                hint = nearest(backend, config.backends)
                yield (*section, "backends", str(index)), f"is {backend!r}, which is not in backends", hint
        for index, sink in enumerate(profile.sinks or ()):
            if sink not in config.sinks:
                hint = nearest(sink, config.sinks) if config.sinks else "none is configured: set `publish`"
                yield (*section, "sinks", str(index)), f"is {sink!r}, which is no sink that is configured", hint
        for where, problem, hint in profile.text.contradictions() if profile.text else ():
            yield (*section, "text", *where), problem, hint
        for setting, kind in ("pin", "gpio"), ("key", "evdev"):
            if getattr(profile, setting) is not None and config.button.kind != kind:
                hint = f"remove it, or set button.kind to {kind}"
                yield (*section, setting), f"needs button.kind {kind}, and it is {config.button.kind}", hint
    for setting, lines in ("pin", _pins(config)), ("key", _keys(config)):
        first: dict[object, str] = {}
        for line, key in lines:
            if first.setdefault(line, key) != key:
                yield tuple(key.split(".")), f"and {first[line]} are both {line}", f"each needs a {setting} of its own"


def _pins(config: Config) -> list[tuple[int, str]]:
    """Return the pin of each button with its key."""
    more = [(one.pin, f"profiles.{name}.pin") for name, one in config.profiles.items() if one.pin is not None]
    return [(config.button.pin, "button.pin"), *more]


def _wires(config: Config) -> Iterator[tuple[Key, int]]:
    """Yield the key of each pin that a button or an LED is wired to."""
    if config.button.kind == "gpio":
        yield from ((tuple(key.split(".")), pin) for pin, key in _pins(config))
    if config.led.kind == "gpio":
        yield ("led", "pin"), config.led.pin
    elif config.led.kind == "rgb":
        yield from ((("led", "pins"), pin) for pin in config.led.pins or ())


def _keys(config: Config) -> list[tuple[str, str]]:
    """Return the name of each key of the input device with its key here."""
    more = [(one.key, f"profiles.{name}.key") for name, one in config.profiles.items() if one.key is not None]
    return [(config.button.key, "button.key"), *more] if config.button.key is not None else more


def _of_gestures(config: Config) -> Iterator[tuple[Key, str, str]]:
    """Check that each gesture that chooses a profile is one, and has no other meaning."""
    button, section = config.button, ("button", "profiles")
    chosen = button.profiles
    for gesture in chosen.__struct_fields__:
        name = getattr(chosen, gesture)
        if name is not None and name not in config.profiles:
            hint = nearest(name, config.profiles) if config.profiles else "add it to profiles"
            yield (*section, gesture), f"is {name!r}, which is not in profiles", hint
    if chosen.hold is not None and button.mode == "toggle":
        yield (*section, "hold"), "is no gesture of button.mode toggle, where a press is a tap", "name it as tap"
    if chosen.tap is not None and button.mode == "hold":
        yield (*section, "tap"), "is no gesture of button.mode hold", "name it as hold, or set button.mode to auto"
    if chosen.double is None:
        return
    if not button.double_ms:
        hint = "set button.double_ms, such as 400"
        yield (*section, "double"), "does not exist with button.double_ms 0", hint
    if button.long_s and button.mode != "toggle":
        problem = f"has two meanings: with button.long_s {button.long_s:g} a tap and a long press mutes"
        yield (*section, "double"), problem, "set button.long_s to 0, and no press mutes"
