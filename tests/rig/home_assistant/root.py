"""The root with Home Assistant and Mosquitto: how it is made."""

import inspect
from pathlib import Path

from tests.rig import debian, store
from tests.rig.package import workshop

VERSION = "2026.2.3"
"""The newest Home Assistant for the Python of Trixie."""

SUITE = "trixie"
PACKAGES = ("mosquitto",)
INTEGRATIONS = ("conversation", "mqtt")
"""What it is used for, besides what it always loads."""

PROGRAM = "/opt/home-assistant/bin/hass"
NEEDS = Path(__file__).with_name("needs.py")

SCRIPT = f"""
python3 -m venv /opt/home-assistant
cd /opt/home-assistant
bin/pip download --quiet --no-deps --dest /tmp/wheel homeassistant=={VERSION}
# Its authors tried this release with these versions of everything else, and with no others.
bin/python -m zipfile --extract /tmp/wheel/*.whl /tmp/content
mv /tmp/content/homeassistant/package_constraints.txt constraints.txt
bin/pip install --quiet --constraint constraints.txt /tmp/wheel/*.whl
bin/python /recipe/needs.py {" ".join(INTEGRATIONS)} > requirements.txt
bin/pip install --quiet --constraint constraints.txt --requirement requirements.txt
"""


def home_assistant() -> list[Path]:
    """Return the layers of a Debian with Home Assistant and Mosquitto, neither of them set up."""
    root, compilers = debian.root(SUITE), workshop(SUITE)
    key = store.key(root.name, SCRIPT, *PACKAGES, NEEDS, inspect.getsource(_build))
    return [store.kept("home-assistant", key, lambda place: _build(root, compilers, place)) / "changes", root]


def _build(root: Path, compilers: Path, place: Path) -> None:
    with debian.layered(compilers, place / "compiled") as tree:  # some of what it needs has no wheels
        debian.inside(tree, SCRIPT, f"{NEEDS.parent}:/recipe", timeout_s=1800)
    with debian.layered(root, place / "work") as tree:
        debian.install(tree, PACKAGES)
        debian.inside(tree, "apt-get clean")
    (place / "work/upper").rename(place / "changes")
    (place / "changes/opt").mkdir(exist_ok=True)
    (place / "compiled/upper/opt/home-assistant").rename(place / "changes/opt/home-assistant")
    store.remove(place / "work")
    store.remove(place / "compiled")
