"""What the package is made of: pinned with hashes, from no named registry, and each with its copyright."""

import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = {"debian/requirements.lock": ["local", "keyboard", "mqtt"], "debian/tools.lock": [], "model/tools.lock": []}
GROUPS = {"debian/tools.lock": "package-tools", "model/tools.lock": "model"}
PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}
PROCESSORS = ["x86_64", "aarch64"]


def entries(lock: str) -> list[tuple[Requirement, list[str]]]:
    """Return each pinned requirement of a lock with its hashes."""
    text = re.sub(r"(?m)^#.*\n", "", (ROOT / lock).read_text()).replace("\\\n", " ")
    lines = [line.split(" --hash=") for line in text.splitlines()]
    return [(Requirement(line[0]), [one.strip() for one in line[1:]]) for line in lines]


def asked(lock: str) -> list[Requirement]:
    """Return what pyproject.toml asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    texts = list(project["dependency-groups"][GROUPS[lock]]) if lock in GROUPS else []
    if LOCKS[lock]:
        texts += project["project"]["dependencies"]
    wanted = list(LOCKS[lock])
    while wanted:
        for text in project["project"]["optional-dependencies"][wanted.pop()]:
            if text.startswith("flowpi["):
                wanted += Requirement(text).extras
            else:
                texts.append(text)
    return [Requirement(text) for text in texts]


@pytest.mark.parametrize("lock", LOCKS)
def test_each_is_pinned_and_has_hashes_of_what_no_registry_is_named_for(lock: str) -> None:
    assert "://" not in (ROOT / lock).read_text()
    for requirement, hashes in entries(lock):
        (pin,) = requirement.specifier
        assert pin.operator == "=="
        assert hashes
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes)


@pytest.mark.parametrize("processor", PROCESSORS)
@pytest.mark.parametrize("suite", PYTHONS)
@pytest.mark.parametrize("lock", LOCKS)
def test_all_that_is_asked_for_is_in_it_once_on_each_suite_and_processor(lock: str, suite: str, processor: str) -> None:
    place = {
        "python_version": PYTHONS[suite],
        "python_full_version": f"{PYTHONS[suite]}.2",
        "platform_machine": processor,
        "sys_platform": "linux",
        "implementation_name": "cpython",
    }
    pinned: dict[str, Requirement] = {}
    for requirement, _ in entries(lock):
        if requirement.marker is None or requirement.marker.evaluate(place):
            assert canonicalize_name(requirement.name) not in pinned
            pinned[canonicalize_name(requirement.name)] = requirement
    for requirement in asked(lock):
        if requirement.marker is None or requirement.marker.evaluate(place):
            (pin,) = pinned[canonicalize_name(requirement.name)].specifier
            assert requirement.specifier.contains(pin.version), f"{requirement}: run `make lock`"


def test_each_that_is_not_left_out_has_its_copyright() -> None:
    left_out = re.sub(r"#.*", "", (ROOT / "debian/leave-out").read_text()).split()
    copyright = (ROOT / "debian/copyright").read_text()
    patterns = [path.rpartition("/site-packages/")[2] for path in re.findall(r"(?m)^ (opt/flowpi/\S+)$", copyright)]
    for requirement, _ in entries("debian/requirements.lock"):
        if "win32" in str(requirement.marker):
            continue
        folder = f"{canonicalize_name(requirement.name).replace('-', '_')}-1.dist-info"
        is_left_out = any(fnmatch(folder, pattern) for pattern in left_out)
        assert is_left_out is not any(fnmatch(folder, pattern) for pattern in patterns), folder
