"""Fixtures for the tests of the whole appliance. `make rig` builds their parts; a missing part is built first."""

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.rig import build, image, store
from tests.rig.container import Container
from tests.rig.debian import SUITES
from tests.rig.kernel_image import kernel
from tests.rig.machine import Machine
from tests.rig.package import ground, package
from tests.speech import Recording, librivox
from tests.system.talking import write_wav


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the journal of the containers of a test that failed: they are gone when somebody reads the report."""
    report = yield
    if report.when == "call" and report.failed and isinstance(item, pytest.Function):
        for name, value in item.funcargs.items():
            if isinstance(value, Container):
                try:
                    said = value.run("journalctl --output=short-precise --no-pager --lines=150").out
                except AssertionError as error:  # it has ended
                    said = str(error)
                report.sections.append((f"journal of {name}", said))
    return report


@pytest.fixture(scope="session")
def sentence() -> Recording:
    """Three seconds: recognition in the machine takes some ten times as long."""
    return min(librivox(), key=lambda recording: len(recording.pcm))


@pytest.fixture(scope="session")
def spoken(sentence: Recording, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wav(sentence, tmp_path_factory.mktemp("speech") / "spoken.wav")


@pytest.fixture(scope="session", params=SUITES)
def suite(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def usable() -> None:
    build.check()


@pytest.fixture(scope="session")
def layers(usable: None, suite: str) -> list[Path]:
    """The layers of a Debian without flowpi, but with its dependencies."""
    return [ground(suite)]


@pytest.fixture(scope="session")
def deb(usable: None, suite: str) -> Path:
    return package(suite)


@pytest.fixture
def bare(layers: list[Path], deb: Path, tmp_path: Path) -> Iterator[Container]:
    """A booted Debian without flowpi; the package is its /root/flowpi.deb."""
    with Container(layers, tmp_path / "container") as container:
        container.put(deb, "/root/flowpi.deb")
        yield container


@pytest.fixture(scope="session")
def installed_layers(usable: None, suite: str) -> list[Path]:
    return build.installed(suite)


@pytest.fixture
def installed(installed_layers: list[Path], tmp_path: Path) -> Iterator[Container]:
    """A booted Debian with flowpi, which starts."""
    with Container(installed_layers, tmp_path / "container") as container:
        yield container


@pytest.fixture(scope="session")
def machine_work(usable: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    work = tmp_path_factory.mktemp("machine")
    image.copy(build.ready_machine(), work)
    yield work
    store.remove(work)


@pytest.fixture
def machine(machine_work: Path) -> Iterator[Machine]:
    """A machine with flowpi after its first boot, fresh for each test."""
    with Machine(kernel(), machine_work).start(image.READY) as machine:
        yield machine
