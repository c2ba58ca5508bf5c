"""The table of backend kinds, and what the settings of each kind say for themselves."""

import subprocess
import sys
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flowpi.config.backends import KINDS, AnyBackendSettings, Kind, kind_of
from flowpi.config.backends.flow import LOCAL_URL, FlowSettings, TokenSettings
from flowpi.config.backends.settings import BackendSettings
from flowpi.config.backends.suki import SukiSettings
from flowpi.config.schema import Config, DictationSettings
from flowpi.config.secret import Secret
from flowpi.doctor import model, units

KEY = Secret("literal", "canary-key")
CLOUD = "wss://flow.example/client_ws"


@pytest.mark.parametrize("name", KINDS)
def test_each_row(name: str) -> None:
    kind = KINDS[name]
    info = msgspec.inspect.type_info(kind.settings)
    assert isinstance(info, msgspec.inspect.StructType)
    assert (info.tag_field, info.tag, info.forbid_unknown_fields) == ("kind", name, True)
    assert info.cls.__struct_config__.frozen
    assert list(signature(import_module(kind.client).make).parameters) == ["name", "settings", "environment"]


def test_what_users_write_chooses_the_row() -> None:
    union: Any = msgspec.inspect.type_info(AnyBackendSettings)
    assert {each.tag for each in union.types} == KINDS.keys()
    chosen: Any = msgspec.convert({"kind": "flow", "url": CLOUD}, AnyBackendSettings)
    assert chosen == FlowSettings(CLOUD)
    assert kind_of(chosen) == Kind(FlowSettings, "flowpi.backends.flow")


@pytest.mark.parametrize("module", ["websockets", "asyncio", *(kind.client for kind in KINDS.values())])
def test_the_configuration_imports_no_client(module: str) -> None:
    program = f"import sys, flowpi.config.checks, flowpi.config.loading; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, cwd=Path(__file__).parents[2]).returncode == 0


def test_only_the_clients_in_use_are_imported() -> None:
    used, other = KINDS["flow"].client, KINDS["suki"].client
    program = (
        "import sys; from flowpi.backends.chain import make_backends; from flowpi.config.schema import Config;"
        f"make_backends(Config()); assert {used!r} in sys.modules; sys.exit({other!r} in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, cwd=Path(__file__).parents[2]).returncode == 0


MISPLACED = "backends.x: api_key is for addresses that end in /ws, client_key for /client_ws"


@pytest.mark.parametrize(
    ("settings", "warnings"),
    [
        (FlowSettings(LOCAL_URL, client_key=KEY), []),
        (FlowSettings(CLOUD, client_key=KEY), []),
        (FlowSettings(CLOUD, api_key=KEY), [MISPLACED]),
        (FlowSettings("wss://flow.example/ws", client_key=KEY), [MISPLACED]),
        (FlowSettings("ws://flow.example"), []),
        (FlowSettings("ws://localhost", api_key=KEY), []),
        (FlowSettings("ws://flow.example", api_key=KEY), ["backends.x {}: use wss://"]),
        (FlowSettings(CLOUD, token=TokenSettings("http://desk")), []),
        (FlowSettings(CLOUD, token=TokenSettings("http://[::1]:80", api_key=KEY)), []),
        (FlowSettings(CLOUD, token=TokenSettings("http://desk", api_key=KEY)), ["backends.x.token {}: use https://"]),
        (
            FlowSettings("ws://flow.example", token=TokenSettings("http://desk", api_key=KEY)),
            ["backends.x.token {}: use https://", "backends.x {}: use wss://"],
        ),
        (SukiSettings("partner", KEY), []),
        (SukiSettings("partner", KEY, url="http://127.0.0.1:80"), []),
        (SukiSettings("partner", KEY, url="http://suki.example"), ["backends.x {}: use https://"]),
    ],
)
def test_warnings(settings: BackendSettings, warnings: list[str]) -> None:
    plain_text = "sends its key over the network in plain text"
    assert list(settings.warnings("backends.x")) == [warning.format(plain_text) for warning in warnings]


@pytest.mark.parametrize(
    ("settings", "recogniser", "service"),
    [
        (FlowSettings(LOCAL_URL), True, True),
        (FlowSettings("ws+unix:///tmp/other.sock"), True, False),
        (FlowSettings("ws://127.0.0.1:8765/ws"), False, False),
        (FlowSettings(CLOUD), False, False),
        (SukiSettings("partner", KEY), False, False),
    ],
)
def test_whether_the_recogniser_and_its_service_are_needed_here(
    settings: BackendSettings, recogniser: bool, service: bool
) -> None:
    config = Config(dictation=DictationSettings(backends=("x",)), backends={"x": settings})
    assert settings.on_this_machine == model.is_wanted(config) == recogniser
    assert ("flowpi-asr.service" in units.wanted(config)) == service
