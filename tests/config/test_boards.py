"""What a board sets: each is a good configuration, and the owner has the last word."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from flowpi.config.boards import BOARDS
from flowpi.config.loading import load, masked, to_yaml
from flowpi.config.schema import Config
from flowpi.core.errors import ConfigError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "flowpi.yaml"


@pytest.mark.parametrize("board", BOARDS)
def test_each_is_a_good_configuration_and_is_shown_in_full(board: str, file: Path) -> None:
    file.write_text(f"board: {board}")
    config = load(str(file))
    shown = masked(config)
    for section, settings in BOARDS[board].items():
        for name, value in settings.items():
            assert shown[section][name] == (tuple(value) if isinstance(value, list) else value)
    file.write_text(to_yaml(shown))
    assert load(str(file)) == config


def test_plain_is_the_default_of_each_key() -> None:
    board = masked(load(None, ["board=plain"]))
    assert board == {**masked(Config()), "board": "plain"}


def test_the_golden_boards() -> None:
    respeaker = load(None, ["board=respeaker-2mic"])
    assert (respeaker.audio.device, respeaker.audio.channels) == ("plughw:CARD=seeed2micvoicec", 2)
    assert (respeaker.button.pin, respeaker.led.kind, respeaker.led.count) == (17, "apa102", 3)
    first, second = load(None, ["board=respeaker-2mic-v1"]), load(None, ["board=respeaker-2mic-v2"])
    assert first.audio.device == first.cues.device == "plughw:CARD=wm8960soundcard"
    assert second == replace(respeaker, board="respeaker-2mic-v2")
    i2s = load(None, ["board=i2s-mic"]).audio
    assert (i2s.device, i2s.rate, i2s.channels, i2s.channel, i2s.gain_db) == (
        "hw:CARD=sndrpigooglevoi", 48_000, 2, 0, 30,
    )  # fmt: skip
    kit = load(None, ["board=aiy-voice-kit"])
    assert (kit.audio.device, kit.button.pin, kit.led.kind, kit.led.pin) == (
        "plughw:CARD=sndrpigooglevoi", 23, "gpio", 25,
    )  # fmt: skip


def test_what_the_file_and_the_command_line_say_counts_more(file: Path) -> None:
    file.write_text("board: aiy-voice-kit\nled: {pin: 5}\n")
    config = load(str(file), ["button.pin=6"])
    assert (config.led.pin, config.button.pin, config.audio.rate) == (5, 6, 48_000)


def test_a_section_that_is_switched_off_stays_off() -> None:
    assert load(None, ["board=respeaker-2mic", "led.kind=none"]).led.kind == "none"


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        (["button.pin=20"], "button.pin"),
        (["led.pin=16"], "led.pin"),
        (["led.kind=rgb", "led.pins=[5, 18, 6]"], "led.pins"),
        (["profiles.german.pin=19"], "profiles.german.pin"),
    ],
)
def test_the_pins_of_an_i2s_microphone_are_not_for_buttons_and_leds(settings: list[str], key: str) -> None:
    with pytest.raises(ConfigError, match=rf"{key} \d+ carries the sound.*needs 16, 18, 19, 20, 21"):
        load(None, ["board=i2s-mic", *settings])
    load(None, settings)
