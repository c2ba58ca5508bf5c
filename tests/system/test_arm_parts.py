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

PARTS = ("config", "core", "dsp", "editing", "wire")

PYTEST = (
    # The plugins that are installed beside pytest take minutes to load.
    "PYTHONPATH=/opt/wheels PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 /opt/flowpi/bin/python3 -m pytest"
    " -p pytest_asyncio.plugin -p no:cacheprovider --durations=5"
    " --ignore=tests/dsp/test_speech.py"  # it reads recordings that are not there
)

PATIENCE_S = 3600.0


def test_what_is_computed(tmp_path: Path) -> None:
    layers = [arm.workbench(SUITE), *arm.installed(SUITE)]
    with arm.booted(layers, tmp_path / "container") as container:
        tree = container.path("/root/tree")
        copy_sources(tree)
        for name in ("docs", "tests"):
            shutil.copytree(TREE / name, tree / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
        # What is tried is the flowpi of the package.
        shutil.rmtree(tree / "flowpi")
        (tree / "flowpi").symlink_to(f"/opt/flowpi/lib/python{arm.PYTHON[SUITE]}/site-packages/flowpi")
        directories = " ".join(f"tests/{part}" for part in PARTS)
        done = container.run(f"cd /root/tree && {PYTEST} {directories}", PATIENCE_S)
        print(done.out)
        assert done.code == 0
