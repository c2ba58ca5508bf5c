"""An appliance as `flowpi provision` sees it: a boot partition, /etc and /run, as directories."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import yaml

from flowpi.config.loading import load
from flowpi.config.schema import Config
from flowpi.provision.apply import CONFIG, ERROR, TAKEN, provision
from flowpi.provision.wifi import Network
from flowpi.provision.wifi_files import ENABLED, NETWORK_MANAGER, Program, present
from tests.waiting import PATIENCE_S

SECRETS = ("canary-cloud-1f9a", "canary-clinic-77b2", "canary-house-c3d4", "canary-partner-e5f6", "canary-org-0718")

GOOD = f"""\
# The desk at the front door
device_id: front-desk
dictation: {{backends: [cloud, clinic, house, local]}}   # best first
backends:
  cloud:
    kind: flow
    url: wss://platform-api.wisprflow.ai/api/v1/dash/client_ws
    token:
      url: https://platform-api.wisprflow.ai/api/v1/dash/generate_access_token
      api_key: {SECRETS[0]}   # from the front desk
  clinic: {{kind: suki, partner_id: ours, partner_token: '{SECRETS[1]}'}}
  house:
    kind: flow
    url: wss://house.example/api/v1/dash/ws
    api_key: |
      {SECRETS[2]}
context: {{user_first_name: Ada}}
server:
  partners: {{"ward 3/Süd": "{SECRETS[3]}"}}
  api_keys:
    - {SECRETS[4]}
...
"""


class Card:
    """A card in an appliance; `config`, `error`, `taken` and `credentials` are its present content."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.boot, self.etc, self.run = (directory / name for name in ("boot", "etc/flowpi", "run"))
        self.system = directory / "etc"
        for each in (self.boot, self.etc, self.run):
            each.mkdir(parents=True, exist_ok=True)

    def leave(self, content: str | bytes, name: str = CONFIG) -> Path:
        """Put a file on the boot partition, as the user does."""
        path = self.boot / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def installs(self, program: Program) -> None:
        """Install what joins Wi-Fi networks: `wifi_files.WPA_SUPPLICANT`, or `NETWORK_MANAGER`, which is enabled."""
        (self.system / program.path).parent.mkdir(parents=True, exist_ok=True)
        if program is NETWORK_MANAGER:
            link = self.system / ENABLED
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to("/lib/systemd/system/NetworkManager.service")

    def provision(self) -> int:
        return provision([self.boot], self.etc, self.run)

    def spawn(self, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run the command in a process of its own until it ends."""
        command = [sys.executable, "-W", "ignore", "-m", "flowpi", "provision"]
        command += ["--boot", str(self.boot), "--etc", str(self.etc)]
        full = {**os.environ, "RUNTIME_DIRECTORY": str(self.run), **(environment or {})}
        return subprocess.run(command, env=full, capture_output=True, text=True, timeout=PATIENCE_S)

    def tree(self) -> dict[str, bytes]:
        """Return the content of every file, and b"" for every directory."""
        found = sorted(self.directory.rglob("*"))
        return {str(path.relative_to(self.directory)): path.read_bytes() if path.is_file() else b"" for path in found}

    @property
    def config(self) -> str | None:
        path = self.etc / CONFIG
        return path.read_text() if path.exists() else None

    @property
    def network(self) -> Network | None:
        return present(self.system)

    @property
    def error(self) -> str | None:
        path = self.boot / ERROR
        return path.read_bytes().decode() if path.exists() else None

    @property
    def taken(self) -> str | None:
        path = self.boot / TAKEN
        return path.read_bytes().decode() if path.exists() else None

    def loaded(self) -> Config:
        return load(str(self.etc / CONFIG))

    def credentials(self, service: str = "credentials") -> dict[str, str]:
        """Return the credentials as systemd passes them."""
        directory = self.etc / service
        if not directory.exists():
            return {}
        return {
            f"flowpi_{path.name}": path.read_text() for path in directory.iterdir() if not path.name.startswith(".")
        }

    def effective(self) -> object:
        """The tree in /etc, each credential of ours replaced by what it holds; KeyError if one is not there."""

        def resolved(value: object, service: str) -> object:
            match value:
                case {"credential": str(name)} if name.startswith("flowpi_"):
                    return self.credentials(service)[name]
                case dict():
                    return {key: resolved(inner, service) for key, inner in value.items()}
                case list():
                    return [resolved(inner, service) for inner in value]
            return value

        tree = yaml.safe_load(self.config or "") or {}
        services = {"server": "credentials-asr"}
        return {key: resolved(value, services.get(key, "credentials")) for key, value in tree.items()}


def meant(text: str) -> object:
    """Return the result of `Card.effective` once this text is in force."""

    def stripped(value: object) -> object:
        match value:
            case dict():
                return {key: stripped(inner) for key, inner in value.items()}
            case list():
                return [stripped(inner) for inner in value]
            case str():
                return value.strip()
        return value

    tree = yaml.safe_load(text)
    return stripped({key: value for key, value in tree.items() if key != "wifi"})
