"""What a configuration is when it is made: secrets, and the backend that is always there."""

import json
import os
import threading
from pathlib import Path

import pytest

from flowpi.config import secret
from flowpi.config.backends.flow import LOCAL_URL, FlowSettings
from flowpi.config.loading import load, masked, to_yaml
from flowpi.config.schema import Config, ServerSettings
from flowpi.config.secret import Secret
from flowpi.core.errors import ConfigError
from tests.waiting import PATIENCE_S, wait_for

# The local backend


def test_local_stays_beside_the_backends_of_the_owner(file: Path) -> None:
    file.write_text("backends: {x: {kind: flow, url: 'wss://h/ws'}}")
    assert load(str(file)).backends["local"] == FlowSettings(LOCAL_URL)


def test_one_key_of_local_can_be_changed() -> None:
    config = load(None, ["backends.local.url=ws://pi:8123/api/v1/dash/ws"])
    assert config.backends["local"] == FlowSettings("ws://pi:8123/api/v1/dash/ws")


# Secrets

LITERAL = "s3cret-of-ada"


def test_a_secret_never_shows_itself(file: Path) -> None:
    file.write_text(f"server: {{partners: {{ward: {LITERAL}}}}}")
    config = load(str(file))
    secret = config.server.partners["ward"]
    assert secret.resolve() == LITERAL
    for shown in (repr(config), str(secret), f"{config}", to_yaml(masked(config))):
        assert LITERAL not in shown
    with pytest.raises(TypeError):
        json.dumps(secret)


def test_masked_names_the_places(file: Path) -> None:
    config = Config(server=ServerSettings(partners={"ward": Secret("file", "/run/p")}))
    assert masked(config)["server"]["partners"]["ward"] == {"file": "/run/p"}


def test_secrets_compare_and_so_a_reload_sees_the_change() -> None:
    assert Secret("literal", "a") == Secret("literal", "a") != Secret("literal", "b")
    assert Secret("env", "a") != Secret("file", "a")
    assert len({Secret("env", "a"), Secret("env", "a")}) == 1
    assert Secret("env", "a") != "a"


def test_resolve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text("k3y\n")
    monkeypatch.setenv("KEY", "k4y")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert Secret("file", str(tmp_path / "key")).resolve() == "k3y"
    assert Secret("credential", "key").resolve() == "k3y"
    assert Secret("env", "KEY").resolve() == "k4y"


def test_resolve_of_what_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEY", raising=False)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert unresolved(Secret("env", "KEY")) == "secret {env: KEY}: $KEY is not set: set it in the environment of flowpi"
    assert unresolved(Secret("credential", "key")) == (
        "secret {credential: key}: systemd passed no credentials ($CREDENTIALS_DIRECTORY is not set): "
        "add LoadCredential=key:PATH to the unit, or use {file: PATH}"
    )
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert unresolved(Secret("credential", "key")) == (
        "secret {credential: key}: cannot read it (No such file or directory): add LoadCredential=key:PATH to the unit"
    )
    assert unresolved(Secret("credential", "flowpi_backends.cloud.api_key")).endswith(": restart flowpi")
    assert unresolved(Secret("file", "/absent")) == (
        "secret {file: /absent}: cannot read it (No such file or directory): "
        "check that the path is right and the user of flowpi may read it"
    )


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "it is empty: put the secret there"),
        (b" \n", "it is empty: put the secret there"),
        (b"a\r\nHost: evil", "it is not one line of text: put only the secret there"),
        (b"\xff\xfe", "it is not one line of text: put only the secret there"),
        (b"Bearer fl-abc", "it begins with the word Bearer: write the key alone: flowpi adds that word itself"),
        ("\u201cfl\u201d".encode(), "it has curly quotes (\u201c \u201d): no key has: write it without them"),
        (b"a" * 70_000, "the file is too large for a secret: put only the secret into it"),
    ],
)
def test_resolve_of_what_is_no_secret(file: Path, content: bytes, problem: str) -> None:
    file.write_bytes(content)
    assert unresolved(Secret("file", str(file))) == f"secret {{file: {file}}}: {problem}"


def test_a_file_that_does_not_answer_is_given_up_and_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secret, "READ_S", 0.01)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    said = (
        f"secret {{file: {pipe}}}: {pipe} did not answer within 0.01 s: "
        "is it a pipe that nobody writes to, or a network drive that is away?"
    )
    before = set(threading.enumerate())
    for _ in range(3):
        assert unresolved(Secret("file", str(pipe))) == said
    (asking,) = set(threading.enumerate()) - before
    pipe.write_text("k3y")  # to the one that still waits
    monkeypatch.setattr(secret, "READ_S", PATIENCE_S)
    wait_for(lambda: not asking.is_alive())
    pipe.unlink()
    pipe.write_text("k4y")
    assert Secret("file", str(pipe)).resolve() == "k4y"


def unresolved(one: Secret) -> str:
    with pytest.raises(ConfigError) as caught:
        one.resolve()
    return str(caught.value)


@pytest.mark.parametrize("value", ["", 3, None, {}, {"env": ""}, {"env": "A", "file": "b"}, {"credential": "../a"}, []])
def test_what_is_no_secret(value: object) -> None:
    with pytest.raises(ValueError, match=r"^not a secret$"):
        Secret.parse(value)
