"""Prints what the integrations that Home Assistant always loads, and those that are named, need from the registry.

    python needs.py mqtt > requirements.txt

It runs with the Python that has Home Assistant, and reads the manifests of the integrations. Otherwise Home Assistant
would download this at its first start, and tests have no network.
"""

import json
import sys
from pathlib import Path

import homeassistant  # type: ignore[import-not-found]  # it is in the root only
from homeassistant import bootstrap


def main(named: list[str]) -> None:
    components = Path(homeassistant.__file__).parent / "components"
    todo = {*bootstrap.CORE_INTEGRATIONS, *bootstrap.DEFAULT_INTEGRATIONS, *bootstrap.FRONTEND_INTEGRATIONS, *named}
    seen: set[str] = set()
    needs: set[str] = set()
    while todo:
        name = todo.pop()
        seen.add(name)
        manifest = json.loads((components / name / "manifest.json").read_text())
        needs.update(manifest.get("requirements", []))
        todo.update(manifest.get("dependencies", []))
        todo -= seen
    print("\n".join(sorted(needs)))


if __name__ == "__main__":
    main(sys.argv[1:])
