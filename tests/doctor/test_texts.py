"""`flowpi doctor` tells apart what can be wrong with the library for digits and with the server of a language model."""

import sys
from pathlib import Path
from typing import Any

import pytest

from flowpi.config.schema import Config
from flowpi.config.secret import Secret
from flowpi.config.text import RewriteSettings, TextSettings
from flowpi.doctor import backends, texts
from flowpi.doctor.findings import Finding
from flowpi.doctor.texts import examine
from tests.backends.fake_backend import dumb_server
from tests.editing.scripted_model import KEY, mute, response, scripted_model


async def finding(rewrite: RewriteSettings) -> Finding:
    (found,) = await examine(Config(text=TextSettings(rewrite=rewrite)))
    return found


async def test_what_is_not_in_use_is_not_looked_at() -> None:
    assert await examine(Config(text=TextSettings(commands=True))) == []


async def test_the_library_for_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config(text=TextSettings(digits=True))
    assert await examine(config) == []
    monkeypatch.setitem(sys.modules, "text_to_num", None)
    (found,) = await examine(config)
    assert (found.level, found.code, found.hint) == ("warning", "no_library", "pip install 'flowpi[digits]'")


async def test_a_server_that_works() -> None:
    async with scripted_model() as model:
        found = await finding(model.settings())
        assert found == Finding("text.rewrite", "ok", "works", "the server answers, and has the model")
        model.models = response(b'{"data": [{"id": "tiny:latest"}]}')
        assert (await finding(model.settings())).message == "the server answers, and has the model"
        model.models = response(b"llama")
        assert (await finding(model.settings())).message == "the server answers"
    assert model.keys == [f"Bearer {KEY}"] * 3
    assert model.requests == []  # no text is made up for it


@pytest.mark.parametrize(
    ("models", "code", "message"),
    [
        (response(b"", 401), "key", "the server is of no use: it refuses the key (HTTP 401)"),
        (response(b"", 404), "path", "the server is of no use: it has no such path or model (HTTP 404)"),
        (response(b"", 503), "http", "the server is of no use: it answers HTTP 503"),
        (response(b"", 302, Location="/v2"), "http", "the server is of no use: it sends elsewhere (HTTP 302)"),
        (b"220 mail.example ESMTP\r\n\r\n", "protocol", "the server is of no use: it does not answer in HTTP"),
        (response(b'{"data": [{"id": "big"}]}'), "unknown_model", "the server does not list the model 'tiny'"),
    ],
)
async def test_a_server_that_does_not(models: bytes, code: str, message: str) -> None:
    async with scripted_model() as model:
        model.models = models
        found = await finding(model.settings())
    assert (found.level, found.code, found.message) == ("warning", code, message)
    assert found.hint


async def test_a_server_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "PATIENCE_S", 0.2)
    async with scripted_model() as model:
        model.models = mute  # type: ignore[assignment]
        found = await finding(model.settings())
    assert (found.code, found.message) == ("route", "the server gave no answer within 0.2 s")


async def test_nobody_there(unused_tcp_port: int) -> None:
    found = await finding(RewriteSettings(f"http://127.0.0.1:{unused_tcp_port}/v1", "tiny"))
    assert (found.code, found.message) == ("route", "the server is of no use: it is not reached (Connection refused)")
    found = await finding(RewriteSettings("http://no-such-host.invalid/v1", "tiny"))
    assert found.code == "dns"


async def test_no_tls_there() -> None:
    async with dumb_server(b"220 mail.example ESMTP\r\n\r\n") as port:
        found = await finding(RewriteSettings(f"https://127.0.0.1:{port}/v1", "tiny"))
    assert found.code == "tls"


async def test_a_key_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with scripted_model() as model:
        found = await finding(model.settings(api_key=Secret("file", str(tmp_path / "none"))))
        assert found.code == "key"
        monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
        monkeypatch.setattr(backends, "CREDENTIALS", tmp_path / "none")
        found = await finding(model.settings(api_key=Secret("credential", "model-key")))
        assert (found.level, found.code) == ("ok", "skipped")
    assert model.keys == []


async def test_without_the_library_of_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    monkeypatch.delitem(sys.modules, "flowpi.editing.chat", raising=False)
    values: dict[str, Any] = {"url": "http://127.0.0.1:1/v1", "model": "tiny"}
    found = await finding(RewriteSettings(**values))
    assert (found.code, found.message, found.hint) == (
        "no_library",
        "aiohttp is not installed",
        "pip install 'flowpi[web]'",
    )
