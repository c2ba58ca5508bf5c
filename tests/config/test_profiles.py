"""Profiles in the configuration: what is refused, and in which words."""

from pathlib import Path

import pytest

from flowpi.appliance import factory
from flowpi.config.loading import load
from flowpi.config.schema import Config
from flowpi.publish.remote import REMOTES
from flowpi.publish.sinks import SINKS
from tests.config.refusals import refused

GESTURES = "profiles: {a: {}, b: {}}\nbutton: {long_s: 0, "


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "f.yaml"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("profiles: {a/b: {}}", "line 1: profiles.a/b is not a good name: use letters, digits, - and _"),
        (
            "profiles: {a: {language: de}}",
            "line 1: profiles.a.language must be a list of text, not empty or null, not ",
        ),
        (
            "profiles: {a: {backends: [locl]}}",
            "line 1: profiles.a.backends.0 is 'locl', which is not in backends: did ",
        ),
        ("profiles: {a: {sinks: [mqtt]}}", "line 1: profiles.a.sinks.0 is 'mqtt', which is no sink that is configured"),
        (
            "profiles: {a: {sinks: [webhok.x]}}\npublish: {webhooks: {x: {url: 'https://h/'}}}",
            "line 1: profiles.a.sinks.0 is 'webhok.x', which is no sink that is configured: did you mean webhook.x?",
        ),
        ("profiles: {a: {txt: {}}}", "line 1: profiles.a.txt is not a known key: did you mean profiles.a.text?"),
        ("profiles: {a: }", "line 1: profiles.a must be a mapping, not empty"),
        (
            "profiles: {a: {text: {replacements: {b: git hub}}}}",
            "line 1: profiles.a.text.replacements.b must be a list of text, not empty, not 'git hub'",
        ),
        (
            "profiles: {a: {text: {rewrite: {url: canary, api_key: [canary]}}}}",
            "line 1: profiles.a.text.rewrite.api_key must be text, ",
        ),
        (
            "profiles: {a: {text: {rewrite: {timeout_s: canary}}}}",
            "line 1: profiles.a.text.rewrite.timeout_s must be a number from 0.1 to 30, not text",
        ),
        ("profiles: {a: {text: {rewrite: {modl: canary}}}}", "line 1: profiles.a.text.rewrite.modl is not a known key"),
        (
            "profiles: {a: {text: {rewrite: {url: 'http://127.0.0.1/v1'}}}}",
            "line 1: profiles.a.text.rewrite.model is missing",
        ),
        ("profiles: {a: {pin: 17}}", "line 1: profiles.a.pin and button.pin are both 17: each needs a pin of its own"),
        ("profiles: {a: {pin: 4}, b: {pin: 4}}", "line 1: profiles.b.pin and profiles.a.pin are both 4: each needs"),
        ("profiles: {a: {pin: 27}}", "line 1: led.pin and profiles.a.pin are both 27: wire them to two pins"),
        ("profiles: {a: {key: KEY_A}}", "line 1: profiles.a.key needs button.kind evdev, and it is gpio: remove it"),
        (
            "button: {kind: evdev, device: /d, key: KEY_A}\nprofiles: {a: {key: KEY_A}}",
            "line 2: profiles.a.key and button.key are both KEY_A: each needs a key of its own",
        ),
        ("button: {profiles: {hold: a}}", "line 1: button.profiles.hold is 'a', which is not in profiles: add it to"),
        (
            GESTURES + "profiles: {hold: c}}",
            "line 2: button.profiles.hold is 'c', which is not in profiles: known: a, ",
        ),
        (GESTURES + "profiles: {long: a}}", "line 2: button.profiles.long is not a known key: known here: hold, tap, "),
        (
            GESTURES + "mode: toggle, profiles: {hold: a}}",
            "line 2: button.profiles.hold is no gesture of button.mode toggle, where a press is a tap: name it as tap",
        ),
        (
            GESTURES + "mode: hold, profiles: {tap: a}}",
            "line 2: button.profiles.tap is no gesture of button.mode hold: name it as hold, or set button.mode to",
        ),
        (
            GESTURES + "double_ms: 0, profiles: {double: a}}",
            "line 2: button.profiles.double does not exist with button.double_ms 0: set button.double_ms, such as 400",
        ),
        (
            "profiles: {a: {}}\nbutton: {profiles: {double: a}}",
            "line 2: button.profiles.double has two meanings: with button.long_s 10 a tap and a long press mutes: set ",
        ),
    ],
)
def test_what_is_refused(file: Path, text: str, message: str) -> None:
    said = refused(file, text)
    assert said.removeprefix("f.yaml, ").startswith(message)
    assert "canary" not in said


def test_in_toggle_mode_a_long_press_and_a_double_tap_go_together(file: Path) -> None:
    file.write_text("profiles: {a: {}}\nbutton: {mode: toggle, profiles: {double: a}}")
    assert load(str(file)).button.profiles.double == "a"


def test_the_names_of_the_sinks_are_those_that_run(file: Path) -> None:
    file.write_text(
        "publish: {mqtt: {url: 'mqtt://h'}, webhooks: {x: {url: 'https://h/'}, y: {url: 'https://h/'}}, "
        "command: {run: [/bin/true]}}"
    )
    for config in (Config(), load(str(file))):
        known = [name for kind in SINKS.values() for name in kind.settings(config)]
        known += [name for name, kind in REMOTES.items() if kind.follows_texts(config) is not None]
        assert sorted(config.sinks) == sorted(known)


def test_a_profile_without_a_word_about_sinks_has_all(file: Path) -> None:
    file.write_text(
        "publish: {webhooks: {x: {url: 'https://h/'}, y: {url: 'https://h/'}}}\n"
        "profiles: {all: {}, none: {sinks: []}, x: {sinks: [webhook.x]}}"
    )
    config = load(str(file))
    assert config.without_sink("webhook.x") == {"none"}
    assert config.without_sink("webhook.y") == {"none", "x"}


def test_each_backend_is_in_use_once(file: Path) -> None:
    file.write_text(
        "backends: {b: {kind: flow, url: 'ws://127.0.0.1/'}, c: {kind: flow, url: 'ws://127.0.0.1/'}}\n"
        "profiles: {x: {backends: [b, local]}, y: {}}"
    )
    assert load(str(file)).backends_in_use == ("local", "b")


@pytest.mark.parametrize(
    ("button", "choose_s"),
    [
        ("{}", 0.0),
        ("{profiles: {hold: a, tap: a}}", 0.0),
        ("{profiles: {hold: a, tap: b}}", 0.3),
        ("{profiles: {hold: a}}", 0.3),
        ("{profiles: {hold: a}, mode: hold}", 0.0),
        ("{profiles: {double: a}, long_s: 0}", 0.4),
        ("{profiles: {double: a}, long_s: 0, hold_ms: 900}", 0.9),
        ("{profiles: {double: a}, long_s: 0, hold_ms: 900, mode: hold}", 0.4),
        ("{profiles: {tap: a}, mode: toggle}", 0.0),
        ("{profiles: {tap: a, double: b}, mode: toggle}", 0.4),
    ],
)
def test_how_long_a_press_leaves_the_choice(file: Path, button: str, choose_s: float) -> None:
    file.write_text(f"profiles: {{a: {{}}, b: {{}}}}\nbutton: {button}")
    assert factory.rules(load(str(file))).choose_s == choose_s
