import hashlib
import importlib.util
from pathlib import Path

import msgspec
import pytest

from flowpi.config.backends.flow import FlowSettings
from flowpi.config.schema import AudioSettings, Config, DictationSettings, ServerSettings
from flowpi.doctor import model, units
from flowpi.server import model_files

HOUSE = Config(
    dictation=DictationSettings(backends=("house",)), backends={"house": FlowSettings("ws://house.example/ws")}
)

FOUND = importlib.util.find_spec("moonshine_voice")


def test_the_model_that_is_installed() -> None:
    (finding,) = model.examine(Config())
    assert (finding.level, finding.code) == ("ok", "works")


def test_a_file_is_missing(tmp_path: Path) -> None:
    (finding,) = model.examine(Config(server=ServerSettings(model=str(tmp_path))))
    assert (finding.level, finding.code) == ("failure", "no_model")
    assert finding.message.endswith("has no complete model of a known kind")
    assert finding.hint.startswith("let server.model name a directory")


def test_the_service_says_which_model_it_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "said", lambda *command: "moonshine base-en; 0.031 s of CPU\n")
    (finding,) = model.examine(Config())
    assert finding.message.endswith("; flowpi-asr uses moonshine base-en; 0.031 s of CPU")


def test_the_denoiser_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config(audio=AudioSettings(denoise="speex"))
    assert [finding.code for finding in model.examine(config)] == ["works"]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pyspeex_noise" else FOUND)
    (finding,) = model.examine(config)
    assert (finding.part, finding.level, finding.code) == ("audio.denoise", "warning", "no_library")
    assert finding.hint == "pip install 'flowpi[denoise]'"


def test_the_packages_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_files, "PACKAGES", ("numpy", "no_such_package"))
    (finding,) = model.examine(Config())
    assert (finding.level, finding.code) == ("failure", "no_model")
    assert finding.message.endswith("(no_such_package)")


@pytest.mark.parametrize("config", [HOUSE, Config(server=ServerSettings(engine="echo"))])
def test_where_no_model_is_used_none_is_missed(config: Config) -> None:
    missing = msgspec.structs.replace(config.server, model="/no/such/directory")
    assert model.examine(msgspec.structs.replace(config, server=missing)) == []


class TestAModelOfTheUsers:
    @pytest.fixture
    def directory(self, tmp_path: Path) -> Path:
        for name, content in {"config.json": "{}", "model.bin": "x" * 2_400_000, "vocabulary.txt": "a"}.items():
            (tmp_path / name).write_text(content)
        return tmp_path

    def test_engine_files_size_and_checksum(self, directory: Path) -> None:
        (finding,) = model.examine(Config(server=ServerSettings(model=str(directory))))
        assert (finding.level, finding.code) == ("ok", "works")
        digest = hashlib.sha256(b"x" * 2_400_000).hexdigest()[:8]
        assert finding.message.startswith(
            f"is in {directory}, for whisper: config.json, model.bin, vocabulary.txt, 2 MB, "
            f"sha256 of model.bin {digest}"
        )

    @pytest.mark.parametrize("mark", [" ", "*"])
    def test_checksums_of_where_it_was_made(self, directory: Path, mark: str) -> None:
        names = ("config.json", "model.bin", "vocabulary.txt")
        sums = {name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in names}
        (directory / "SHA256SUMS").write_text("".join(f"{digest} {mark}{name}\n" for name, digest in sums.items()))
        with (directory / "SHA256SUMS").open("ab") as file:  # as if it had been made anew by `sha256sum *`
            file.write(f"{hashlib.sha256().hexdigest()} {mark}SHA256SUMS\n\xff\n".encode("latin-1"))
        config = Config(server=ServerSettings(model=str(directory)))
        (finding,) = model.examine(config)
        assert finding.level == "ok"
        (directory / "model.bin").write_text("y")
        (finding,) = model.examine(config)
        assert (finding.level, finding.code) == ("failure", "no_model")
        assert finding.message.endswith("is damaged (not as in SHA256SUMS: model.bin)")
        assert finding.hint.startswith("copy it again, then `sudo systemctl restart flowpi-asr`")

    @pytest.mark.parametrize(
        ("is_package", "command"),
        [
            (False, "sudo /opt/flowpi/bin/pip install '/opt/flowpi/src[whisper]'"),
            (True, "sudo apt-get install python3-pip && sudo pip --python /opt/flowpi/bin/python3 install ctranslate2"),
        ],
    )
    def test_the_packages_of_its_engine_are_missing(
        self, directory: Path, is_package: bool, command: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(model, "owned_by_package", lambda path: is_package)
        found = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ctranslate2" else found(name))
        (finding,) = model.examine(Config(server=ServerSettings(model=str(directory))))
        assert (finding.level, finding.code) == ("failure", "no_model")
        assert finding.message == "the packages of whisper are not installed (ctranslate2)"
        assert finding.hint == f"{command} && sudo systemctl restart flowpi-asr"

    def test_with_one_for_interim_texts(self, directory: Path) -> None:
        small = directory / "small"
        small.mkdir()
        for name in model_files.FILES:
            (small / name).touch()
        (finding,) = model.examine(Config(server=ServerSettings(model=str(directory), interim_model=str(small))))
        assert (finding.level, finding.code) == ("failure", "no_model")
        assert finding.message == "server.interim_model is for moonshine, and not for whisper"

    def test_an_engine_without_a_model(self) -> None:
        (finding,) = model.examine(Config(server=ServerSettings(engine="whisper")))
        assert (finding.level, finding.code) == ("failure", "no_model")
        assert finding.message == "no model for whisper is named"
        assert finding.hint.startswith("let server.model name its directory")
