from pathlib import Path

import pytest

from flowpi.config.backends.flow import FlowSettings
from flowpi.config.schema import Config, DictationSettings, ServerSettings
from flowpi.doctor import model
from flowpi.server import model_files

HOUSE = Config(
    dictation=DictationSettings(backends=("house",)), backends={"house": FlowSettings("ws://house.example/ws")}
)


def test_the_model_that_is_installed() -> None:
    (finding,) = model.examine(Config())
    assert (finding.level, finding.code) == ("ok", "works")


def test_a_file_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWPI_MODEL", str(tmp_path))
    (finding,) = model.examine(Config())
    assert (finding.level, finding.code) == ("failure", "no_model")
    assert "lacks encoder_model.ort" in finding.message
    assert "[local]" in finding.hint


def test_the_packages_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_files, "PACKAGES", ("numpy", "no_such_package"))
    (finding,) = model.examine(Config())
    assert (finding.level, finding.code) == ("failure", "no_model")
    assert finding.message.endswith("(no_such_package)")


@pytest.mark.parametrize("config", [HOUSE, Config(server=ServerSettings(engine="echo"))])
def test_where_no_model_is_used_none_is_missed(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWPI_MODEL", "/no/such/directory")
    assert model.examine(config) == []
