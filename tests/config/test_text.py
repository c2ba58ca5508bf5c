"""The settings of texts: what is refused, and in which words, and what is warned of."""

from pathlib import Path

import pytest

from flowpi.config.loading import load, masked
from flowpi.config.reload import applied
from flowpi.config.schema import Config
from flowpi.config.text import RewriteSettings, TextSettings
from tests.config.refusals import refused

REPLACEMENTS = "text.replacements"
REWRITE = "text.rewrite"


def table(rows: str) -> str:
    return f"text: {{replacements: {{{rows}}}}}"


def server(rest: str, url: str = "http://127.0.0.1/v1") -> str:
    return f"text: {{rewrite: {{url: '{url}', {rest}}}}}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (table("a: git hub"), f"{REPLACEMENTS}.a must be a list of text, not empty, not 'git hub': write it as a list"),
        (table("a: []"), f"{REPLACEMENTS}.a must be a list of text, not empty, not a list of 0"),
        (table("a: [b, 5]"), f"{REPLACEMENTS}.a.1 must be text, not 5: put it in quotes"),
        (table('a: ["b+"]'), f"{REPLACEMENTS}.a.0 is 'b+', which is more or less than words: write it as the recog"),
        (table('a: [" "]'), f"{REPLACEMENTS}.a.0 is ' ', which is more or less than words: "),
        (table('a: ["b-"]'), f"{REPLACEMENTS}.a.0 is 'b-', which is more or less than words: "),
        (table("a: [b], c: [x, B]"), f"{REPLACEMENTS}.c.1 is 'B', which is replaced by 'a' already: keep one"),
        (table("a: [b], B: [x]"), f"{REPLACEMENTS}.B would itself be replaced by 'a': name its spoken forms there"),
        ("text: {commands: on please}", "text.commands must be true or false, not 'on please'"),
        ("text: {ending: tab}", "text.ending must be newline, none or space, not 'tab'"),
        ("text: {filler: true}", "text.filler is not a known key: did you mean text.fillers?"),
        ("text: {rewrite: {model: x}}", f"{REWRITE}.url is missing: name the server, as http://127.0.0.1:11434/v1"),
        ("text: {rewrite: {api_key: canary}}", f"{REWRITE}.url is missing: "),
        (server("api_key: canary"), f"{REWRITE}.model is missing: name a model that the server has"),
        (server("model: x", "ftp://h"), f"{REWRITE}.url must start with https:// or http://"),
        (server("model: x", "https://h/v1?api_key=canary"), f"{REWRITE}.url holds a key: "),
        (server("apikey: canary"), f"{REWRITE}.apikey is not a known key: did you mean {REWRITE}.api_key?"),
        (server("model: x, api_key: [canary]"), f"{REWRITE}.api_key must be text, {{credential: NAME}}, {{file: "),
        (server("model: x, timeout_s: 31"), f"{REWRITE}.timeout_s must be a number from 0.1 to 30, not 31"),
        (server("model: x, timeout_s: canary"), f"{REWRITE}.timeout_s must be a number from 0.1 to 30, not text"),
        (server("api_key'canary'"), f"{REWRITE}.*** is not a known key: did you mean {REWRITE}.api_key?"),
        (server("model: [canary]"), f"{REWRITE}.model must be text or null, not a list of 1"),
    ],
)
def test_what_is_refused(file: Path, text: str, message: str) -> None:
    said = refused(file, text)
    assert message in said
    assert "canary" not in said


def test_what_is_accepted(file: Path) -> None:
    file.write_text(
        "text:\n  replacements: {GitHub: [git hub, github], O'Hara: [o'hara, o hare], 'C++': [c plus plus]}\n"
        "  ending: space\n  rewrite: {url: 'https://h/v1', model: m, api_key: {env: KEY}}\n"
    )
    config = load(str(file))
    assert config.text.replacements["GitHub"] == ("git hub", "github")
    assert masked(config)["text"]["rewrite"]["api_key"] == {"env": "KEY"}


def test_by_default_nothing_is_done() -> None:
    settings = Config().text
    assert (settings.commands, settings.fillers, settings.digits, settings.ending) == (False, False, False, "none")
    assert settings.rewrite.url is None
    assert settings.replacements == {}


def test_a_reload_applies_all_of_it() -> None:
    new = Config(text=TextSettings(commands=True, rewrite=RewriteSettings("https://h/v1", "m")))
    assert applied(new, Config()) == (new, [])


@pytest.mark.parametrize(
    ("url", "key", "warning"),
    [
        ("http://example.com/v1", "", "text.rewrite sends texts over the internet in plain text: use https://"),
        ("http://nas.local/v1", "api_key: k", "text.rewrite sends its key over the network in plain text: use https"),
        ("http://nas.local/v1", "", None),
        ("http://127.0.0.1/v1", "api_key: k", None),
        ("https://example.com/v1", "api_key: k", None),
    ],
)
def test_what_is_warned_of(file: Path, url: str, key: str, warning: str | None) -> None:
    file.write_text(server(f"model: x, {key}", url))
    said = list(load(str(file)).text.warnings("text"))
    assert len(said) == (warning is not None)
    assert warning is None or said[0].startswith(warning)
