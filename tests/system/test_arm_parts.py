"""The tests of the parts on arm64, by the Python and the libraries of the package: those that measure no time and need
no device, no compiler and no other program."""

import shutil
from pathlib import Path

import pytest

from tests.rig import arm
from tests.rig.package import TREE, copy_sources

pytestmark = pytest.mark.arm

SUITE = "trixie"
"""The one whose Python the other tests of the parts do not run on."""

PARTS = ("dsp", "wire")
"""Where numbers and bytes are computed with. The rest is mostly Python alone, and would take an hour."""

PYTEST = (
    # The plugins that are installed beside pytest take minutes to load.
    "PYTHONPATH=/opt/wheels:/root PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 /opt/flowpi/bin/python3 -m pytest"
    " -p pytest_asyncio.plugin -p few -p no:cacheprovider --durations=5"
    " --ignore=tests/dsp/test_speech.py"  # it reads recordings that are not there
    " --ignore-glob='*_generated.py' --ignore=tests/wire/test_suki_sessions.py"  # of many examples
)

FEW = """\
import pytest
from hypothesis import settings


@pytest.hookimpl(trylast=True)
def pytest_configure():
    settings.register_profile("few", max_examples=5)
    settings.load_profile("few")
"""
"""A plugin for pytest: on this machine's processor a hundred examples are drawn."""

PATIENCE_S = 3600.0


def test_what_is_computed(tmp_path: Path) -> None:
    with arm.unbooted([arm.workbench(SUITE), arm.root(SUITE)], tmp_path / "work") as (root, run):
        tree = root / "root/tree"
        copy_sources(tree)
        for name in ("docs", "tests"):
            shutil.copytree(TREE / name, tree / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
        # What is tried is the flowpi of the package.
        shutil.rmtree(tree / "flowpi")
        (tree / "flowpi").symlink_to(f"/opt/flowpi/lib/python{arm.PYTHON[SUITE]}/site-packages/flowpi")
        (root / "root/few.py").write_text(FEW)
        directories = " ".join(f"tests/{part}" for part in PARTS)
        done = run(f"cd /root/tree && {PYTEST} {directories}", PATIENCE_S)
        print(done.out)
        assert done.code == 0
