"""What tests of several parts share."""

import asyncio
import json
import logging
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import signals
from tests.clock import JumpingLoop, SkippingLoop
from tests.ports import free_port
from tests.rig.microphone import Microphone

MEASURED = "FLOWPI_MEASURED"
"""The directory in which tests leave what they measured, for the table in docs/reliability.md."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="do each harm as often as the promise says: make test-long")
    parser.addoption("--rig", action="store_true", help="also what needs containers or a machine: make test-rig")


RIG = {
    "arm": "in containers for arm64, by an emulated processor: `make test-rig-arm`",
    "nspawn": "in containers with systemd: `make test-rig`",
    "vm": "in a machine with a kernel of its own, one at a time: `make test-rig`",
}


def pytest_configure(config: pytest.Config) -> None:
    signals.catch_ignored()
    # The examples of a property are the same each time, but in the long form: what is new there is a find, not a race.
    settings.register_profile(
        "a busy machine",
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        derandomize=not config.getoption("long"),
        max_examples=500 if config.getoption("long") else 100,
    )
    settings.load_profile("a busy machine")
    for marker, meaning in RIG.items():
        config.addinivalue_line("markers", f"{marker}: {meaning}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = [] if config.getoption("long") else ["long"]
    left_out += [] if config.getoption("rig") else RIG
    deselected = [item for item in items if any(map(item.get_closest_marker, left_out))]
    config.hook.pytest_deselected(items=deselected)
    kept = [item for item in items if item not in deselected]
    items[:] = sorted(kept, key=lambda item: item.get_closest_marker("lengthy") is None)


LoopFactories = dict[str, Callable[[], asyncio.AbstractEventLoop]]


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> LoopFactories:
    """Give a test whose fixtures include one of the clocks the loop of that clock, and any other an ordinary one."""
    assert isinstance(item, pytest.Function)
    if "skipping_clock" in item.fixturenames:
        return {"real time": SkippingLoop}
    if "jumping_clock" in item.fixturenames:
        return {"jumping": JumpingLoop}
    return {"real time": asyncio.new_event_loop}


@pytest.fixture
async def jumping_clock() -> JumpingLoop:
    """The event loop of the test, whose time starts at 0 and jumps to the next timer."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, JumpingLoop)
    return loop


@pytest.fixture
async def skipping_clock() -> SkippingLoop:
    """The event loop of the test, whose real time the test may set forward."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SkippingLoop)
    return loop


@pytest.fixture
def times(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """`times(quick, long)`: how often to do it in this run."""
    return lambda quick, long: long if request.config.getoption("long") else quick


@pytest.fixture
def slack_s(times: Callable[[int, int], int]) -> float:
    """What a busy machine may add to a time that flowpi keeps by a timer, in seconds.

    Tests on a clock that jumps hold the exact time. The long form measures, and has the machine for itself.
    """
    return times(100, 3) / 10


@pytest.fixture
def unused_tcp_port() -> int:
    """A port as from `free_port`, in place of that of pytest-asyncio, which a connection may have the moment after."""
    return free_port()


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[..., None]:
    """`measured(cuts=500, lost=0)`: what came of it, for docs/reliability.md; the last call of a test counts."""

    def measured(**facts: float | str) -> None:
        if directory := os.environ.get(MEASURED):
            marker = request.node.get_closest_marker("promise")
            name = f"{request.path.relative_to(request.config.rootpath)}::{request.node.name}"
            line = {"promises": marker.args, "test": name, "facts": facts}
            file = Path(directory) / f"{name.replace('/', '.')}.json"
            file.write_text(json.dumps(line))

    return measured


CANARY = "canary"
"""In every key that a test uses."""

NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""What a field of the journal may hold: no text and no key has this form only."""

leaks: list[str] = []
"""Log lines of the running test that hold a key, or whose fields hold more than names."""


class Net(logging.Handler):
    """Catches keys in what is logged at any level; the libraries of a test's own servers may log theirs."""

    def emit(self, record: logging.LogRecord) -> None:
        about = getattr(record, "journal", {})
        text = record.getMessage() + str(record.exc_info or "") + str(about)
        if CANARY in text and not record.name.startswith(("websockets.server", "aiohttp")):
            leaks.append(text)
        if not all(NAME.fullmatch(name) and NAME.fullmatch(value) for name, value in about.items()):
            leaks.append(f"more than names: {about}")


@pytest.fixture(autouse=True)
def no_key_is_logged() -> Iterator[None]:
    """P8, for all tests: DEBUG is on, and no line holds a key."""
    root, net = logging.getLogger(), Net(logging.DEBUG)
    level, before = root.level, root.handlers[:]
    root.addHandler(net)
    root.setLevel(logging.DEBUG)
    yield
    for handler in root.handlers[:]:
        if handler not in before:  # ours, and one of a command that ran here, whose stderr is closed by now
            root.removeHandler(handler)
    root.setLevel(level)
    found, leaks[:] = leaks[:], []
    assert not found


@pytest.fixture
def microphone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Microphone]:
    """A plugged in microphone; this process and its children find it in their ALSA library."""
    directory = tmp_path / "microphone"
    directory.mkdir()
    with Microphone(directory) as microphone:
        monkeypatch.setenv("ALSA_CONFIG_PATH", str(microphone.config_path))
        yield microphone
