from pathlib import Path

import pytest

from flowpi.config import loading


@pytest.fixture(autouse=True)
def _no_system_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the configuration of this machine out of the tests."""
    monkeypatch.delenv("FLOWPI_CONFIG", raising=False)
    monkeypatch.setattr(loading, "DEFAULT_PATH", str(tmp_path / "etc" / "flowpi.yaml"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "f.yaml"
