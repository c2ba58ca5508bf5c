"""`flowpi doctor` tells apart what can be wrong with a backend."""

from pathlib import Path
from typing import Literal

import pytest

from flowpi.config.backends.flow import FlowSettings
from flowpi.config.schema import Config, DictationSettings
from flowpi.config.secret import Secret
from flowpi.doctor import backends
from flowpi.doctor.backends import examine_backends
from flowpi.doctor.findings import Finding
from tests.backends.fake_backend import FakeBackend, dumb_server, refuses
from tests.backends.network import alone


def config_of(*urls: str, key: str | None = None) -> Config:
    secret = Secret("literal", key) if key else None
    backends = {f"b{number}": FlowSettings(url, api_key=secret) for number, url in enumerate(urls)}
    return Config(dictation=DictationSettings(backends=tuple(backends)), backends=dict(backends))


async def finding_of(url: str, key: str | None = None) -> Finding:
    (finding,) = await examine_backends(config_of(url, key=key))
    return finding


async def test_one_that_works() -> None:
    async with FakeBackend() as backend:
        assert await finding_of(backend.url) == Finding("backend b0", "ok", "works", "works")
    assert backend.calls[0].pcm == b""


@pytest.mark.parametrize(
    ("status", "code", "hint"),
    [
        (401, "key", "check the key of backends.b0"),
        (403, "key", "check the key of backends.b0"),
        (404, "path", "check the path in backends.b0.url"),
        (503, "http", "see the journal of the service"),
    ],
)
async def test_a_status(status: int, code: str, hint: str) -> None:
    async with FakeBackend(status=status) as backend:
        finding = await finding_of(backend.url, key="canary")
    assert (finding.level, finding.code, finding.hint) == ("failure", code, hint)
    assert finding.message == f"answered HTTP {status} (no)"


async def test_a_refusal_in_the_dialect() -> None:
    async with FakeBackend([refuses]) as backend:
        finding = await finding_of(backend.url)
    assert finding.code == "refused"
    assert "the quota is used up" in finding.message


async def test_a_server_of_something_else() -> None:
    async with dumb_server(b"220 mail.example ESMTP\r\n\r\n") as port:
        finding = await finding_of(f"ws://127.0.0.1:{port}/ws")
    assert finding.code == "protocol"
    assert "is no WebSocket server" in finding.message
    async with dumb_server(b"220 mail.example ESMTP\r\n\r\n") as port:
        finding = await finding_of(f"wss://127.0.0.1:{port}/ws")
    assert finding.code == "tls"
    assert "it speaks no TLS there" in finding.message


async def test_nobody_there(unused_tcp_port: int, tmp_path: Path) -> None:
    finding = await finding_of(f"ws://127.0.0.1:{unused_tcp_port}/ws")
    assert (finding.code, finding.level) == ("route", "failure")
    finding = await finding_of(f"ws+unix://{tmp_path}/asr.sock")
    assert finding.hint == "start `flowpi serve`"


@pytest.mark.parametrize(
    ("scenario", "code"), [("doctor_no_such_name", "dns"), ("doctor_mute_names", "dns"), ("doctor_no_route", "route")]
)
def test_the_network(scenario: str, code: str) -> None:
    outcome = alone(scenario)
    assert outcome["code"] == code
    assert outcome["level"] == "failure"


async def test_a_fault_is_a_warning_while_another_backend_works(unused_tcp_port: int) -> None:
    async with FakeBackend() as backend:
        findings = await examine_backends(config_of(f"ws://127.0.0.1:{unused_tcp_port}/ws", backend.url))
    assert [finding.level for finding in findings] == ["warning", "ok"]


@pytest.mark.parametrize("kind", ["credential", "env"])
async def test_a_key_that_only_the_service_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Literal["credential", "env"]
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "")  # so that it is as before at the end
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    monkeypatch.setattr(backends, "CREDENTIALS", tmp_path / "flowpi.service")
    async with FakeBackend() as backend:
        config = Config(
            dictation=DictationSettings(backends=("b0",)),
            backends={"b0": FlowSettings(backend.url, api_key=Secret(kind, "KEY"))},
        )
        (finding,) = await examine_backends(config)
        assert (finding.level, finding.code) == ("ok", "skipped")
        assert "as root" in finding.message
        if kind == "credential":
            (tmp_path / "flowpi.service").mkdir()
            (tmp_path / "flowpi.service/KEY").write_text("canary")
        monkeypatch.setenv("KEY", "canary")
        (finding,) = await examine_backends(config)
        assert finding.code == "works"


async def test_a_key_that_is_not_there() -> None:
    config = Config(
        dictation=DictationSettings(backends=("b0",)),
        backends={"b0": FlowSettings("ws://127.0.0.1:1/ws", api_key=Secret("file", "/no/such/file"))},
    )
    (finding,) = await examine_backends(config)
    assert finding.code == "key"
    assert "cannot read it" in finding.message
