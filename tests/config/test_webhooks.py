"""The settings of webhooks: what is refused, and in which words, and what is warned of."""

from pathlib import Path

import pytest

from flowpi.config.addresses import is_near
from flowpi.config.loading import load, masked, plain, warnings
from flowpi.config.reload import applied
from flowpi.config.schema import Config, PublishSettings
from flowpi.config.secret import Secret
from flowpi.config.webhooks import MAKE_SECRET, WebhookSettings, signing_key
from tests.config.refusals import refused

GOOD = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
X = "publish.webhooks.x"


def hook(rest: str, url: str = "https://h") -> str:
    return f"publish: {{webhooks: {{x: {{url: '{url}', {rest}}}}}}}"


def control(url: str) -> str:
    return f'publish: {{webhooks: {{x: {{url: "{url}"}}}}}}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (hook("secret: canary"), f"{X}.secret does not begin with whsec_: {MAKE_SECRET}"),
        (hook("secret: whsec_canary!"), f"{X}.secret is not base64 after whsec_: {MAKE_SECRET}"),
        (hook(f"secret: whsec_{'canary-' * 6}"), f"{X}.secret is not base64 after whsec_: {MAKE_SECRET}"),
        (hook("secret: whsec_Y2FuYXJ5"), f"{X}.secret holds a key of 6 bytes: {MAKE_SECRET}"),
        (
            hook(f"secret: {GOOD}, old_secret: canary"),
            f"{X}.old_secret does not begin with whsec_: {MAKE_SECRET}",
        ),
        (
            hook(f"old_secret: {GOOD}"),
            f"{X}.secret is missing: old_secret is for the time in which it is changed",
        ),
        (hook("secret: null", "ftp://h"), f"{X}.url must start with https:// or http://"),
        (hook("secret: null", "https:///canary"), f"{X}.url names no host: as in https://host.example"),
        (hook("secret: null", "https://h:99999/canary"), f"{X}.url is no address: as in https://host.example:443"),
        (control("https://h\\u0001/canary"), f"{X}.url has a control character: write it in quotes without "),
        (control("https://h/canary?a=\\x7F"), f"{X}.url has a control character: write it in quotes without "),
        (
            hook("secret: null", "https://me:canary@h"),
            f"{X}.url holds a user name or password: a webhook has none; `secret` signs its requests",
        ),
        (hook("ca_file: c", "http://h"), f"{X}.ca_file is never used with http://: use https://, or remove it"),
        (hook("ca_file: ~/c"), f"{X}.ca_file is '~/c', and neither ~ nor $ is replaced here: "),
        (hook("secrit: canary"), f"{X}.secrit is not a known key: did you mean {X}.secret?"),
        (hook("secret'canary'"), f"{X}.*** is not a known key: did you mean {X}.secret?"),
        (
            hook("secret: 0777"),
            f"{X}.secret is no plain number: put it in quotes if it is text, or write a plain number",
        ),
        (hook("secret: [canary]"), f"{X}.secret must be text, {{credential: NAME}}, {{file: PATH}} or "),
        (hook("filters: []"), f"{X}.filters must be a list of text, not empty"),
        (hook("filters: transcript/final"), f"{X}.filters must be a list of text, not empty, not text"),
        (
            hook("filters: ['transcript/#/x']"),
            f"{X}.filters has 'transcript/#/x', which is no topic filter ('#' stands only at the end): such as ",
        ),
        (
            hook("filters: [transcript/final, transcripts/final]"),
            f"{X}.filters has 'transcripts/final', which matches no topic: name some of availability, state, "
            "transcript/partial, transcript/final, transcript/failed, event/button, stats, sinks",
        ),
        (
            hook("filters: [transcript/final, level]"),
            f"{X}.filters has 'level', which matches level, ten messages a second: name the topics that you want, "
            "such as transcript/+ and state",
        ),
        (hook("filters: ['#']"), f"{X}.filters has '#', which matches level, ten messages a second: name "),
        (hook("filters: [+]"), f"{X}.filters has '+', which matches level, ten messages a second: name "),
        ("publish: {webhooks: {x: {}}}", f"{X}.url is missing: it must be text"),
        ("publish: {webhooks: {x: canary}}", f"{X} must be a mapping, not text"),
        ("publish: {webhooks: {a/b: {url: 'https://h'}}}", "publish.webhooks.a/b is not a good name: use letters, "),
    ],
)
def test_what_is_refused(file: Path, text: str, message: str) -> None:
    said = refused(file, text)
    assert said.startswith(f"f.yaml, line 1: {message}")
    assert "canary" not in said


def test_what_is_accepted(file: Path) -> None:
    file.write_text(hook(f"secret: {GOOD}, old_secret: {{file: /run/old}}", "https://h:8443/a?token=b"))
    config = load(str(file))
    assert config.publish.webhooks["x"].url == "https://h:8443/a?token=b"
    shown = masked(config)["publish"]["webhooks"]["x"]
    assert (shown["secret"], shown["old_secret"]) == ("***", {"file": "/run/old"})
    assert load(str(file)) == config


HOME = "http://ha.local:8123/api/webhook/canary?b=canary"


def test_the_url_is_a_secret_if_nothing_is_signed(file: Path) -> None:
    file.write_text(f"publish: {{webhooks: {{a: {{url: '{HOME}'}}, b: {{url: '{HOME}', secret: {{file: /s}}}}}}}}")
    file.chmod(0o644)
    config = load(str(file))
    shown = masked(config)["publish"]["webhooks"]
    assert [shown[name]["url"] for name in "ab"] == ["http://ha.local:8123/***", HOME]
    assert [one for one in warnings(config, str(file)) if "every user" in one] == [
        f"{file}: publish.webhooks.a.url can be read by every user of this machine: chmod 640 {file}"
    ]
    file.chmod(0o640)
    assert not any("every user" in one for one in warnings(config, str(file)))
    assert next(warnings(config, None, [f"publish.webhooks.a.url={HOME}"])) == (
        "every user of this machine can read publish.webhooks.a.url in the list of processes: "
        "write it into a file for --config"
    )


def test_files_that_are_missing(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.touch()
    one = WebhookSettings("https://h", Secret("file", "/no/s"), Secret("env", "OLD"), ca_file=str(there))
    warning = "x.{}: there is no file {!r}: put it there, or correct the path"
    assert list(one.warnings("x")) == [warning.format("secret", "/no/s")]
    there.unlink()
    assert list(one.warnings("x"))[1:] == [warning.format("ca_file", str(there))]


@pytest.mark.parametrize("url", ["https://h", "https://h/", "http://h:80"])
def test_a_host_alone_is_no_secret(url: str) -> None:
    assert masked(Config(publish=PublishSettings(webhooks={"x": WebhookSettings(url)}))) == plain(
        Config(publish=PublishSettings(webhooks={"x": WebhookSettings(url)}))
    )


@pytest.mark.parametrize("size", [24, 64])
def test_how_long_a_key_may_be(size: int) -> None:
    import base64

    def secret(size: int) -> str:
        return "whsec_" + base64.b64encode(bytes(size)).decode()

    assert signing_key(secret(size)) == bytes(size)
    with pytest.raises(ValueError, match="holds a key of"):
        signing_key(secret(23 if size == 24 else 65))


@pytest.mark.parametrize(
    ("host", "near"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("::1", True),
        ("192.168.1.2", True),
        ("10.0.0.1", True),
        ("169.254.1.1", True),
        ("fe80::1", True),
        ("fd00::1", True),
        ("homeassistant", True),
        ("homeassistant.LOCAL", True),
        ("ha.home.arpa.", True),
        ("desk.lan", True),
        ("8.8.8.8", False),
        ("2606:4700::1", False),
        ("desk.example", False),
        ("local.example", False),
        ("notlocal.planet", False),
    ],
)
def test_warnings(host: str, near: bool) -> None:
    assert is_near(host) == near
    url = f"[{host}]" if ":" in host else host
    warning = "publish.webhooks.x sends texts over the internet in plain text: use https://"
    assert list(WebhookSettings(f"http://{url}:8123/x").warnings("publish.webhooks.x")) == [warning] * (not near)
    assert list(WebhookSettings(f"https://{url}").warnings("publish.webhooks.x")) == []


def test_which_messages_it_receives(file: Path) -> None:
    file.write_text(hook("secret: null"))
    assert load(str(file)).publish.webhooks["x"].filters == ("transcript/final",)
    file.write_text(hook("filters: [state, transcript/+, event/#]"))
    assert load(str(file)).publish.webhooks["x"].filters == ("state", "transcript/+", "event/#")


def test_a_reload_applies_them() -> None:
    running = Config(publish=PublishSettings(webhooks={"x": WebhookSettings("https://h")}))
    new = Config(publish=PublishSettings(webhooks={"x": WebhookSettings("https://h", Secret("literal", GOOD))}))
    assert applied(new, running) == (new, [])
