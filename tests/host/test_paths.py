import os
from pathlib import Path

import pytest

from flowpi.config.schema import Config, FilesSettings, PublishSettings, SocketSettings, SpoolSettings
from flowpi.core.errors import CannotCreateError, NoPermissionError
from flowpi.host import paths

VARIABLES = ("STATE_DIRECTORY", "RUNTIME_DIRECTORY", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "TMPDIR")


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Pretend to be a user with a home, and not root. The files still belong to whoever runs the tests."""
    uid = os.geteuid() or 1000
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)


def test_systemd_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/flowpi:/var/lib/more")
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/flowpi")
    assert paths.state_directory() == Path("/var/lib/flowpi")
    assert paths.transcripts_directory(Config()) == Path("/var/lib/flowpi/transcripts")
    assert paths.spool_directory(Config()) == Path("/var/lib/flowpi/spool")
    assert paths.daemon_socket(Config()) == Path("/run/flowpi/flowpi.sock")


@pytest.mark.usefixtures("root")
def test_root_without_systemd_has_the_same() -> None:
    assert paths.state_directory() == Path("/var/lib/flowpi")
    assert paths.runtime_directory() == Path("/run/flowpi")


@pytest.mark.usefixtures("person")
def test_a_person_has_the_directories_of_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert paths.state_directory() == tmp_path / ".local/state/flowpi"
    monkeypatch.setenv("XDG_STATE_HOME", "relative/counts/as/unset")
    assert paths.state_directory() == tmp_path / ".local/state/flowpi"
    monkeypatch.setenv("XDG_STATE_HOME", "/x/state")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    assert paths.state_directory() == Path("/x/state/flowpi")
    assert paths.runtime_directory() == Path("/run/user/1000/flowpi")


def test_the_configuration_goes_first() -> None:
    publish = PublishSettings(socket=SocketSettings(path="/a/s.sock"), files=FilesSettings(directory="/a/texts"))
    config = Config(publish=publish, spool=SpoolSettings(directory="/a/spool"))
    assert paths.daemon_socket(config) == paths.find_socket(config) == Path("/a/s.sock")
    assert paths.transcripts_directory(config) == Path("/a/texts")
    assert paths.spool_directory(config) == Path("/a/spool")


@pytest.mark.usefixtures("person")
def test_a_client_finds_the_service_before_the_users_own_daemon(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    monkeypatch.setattr(paths, "SYSTEM_RUNTIME", tmp_path)
    assert paths.find_socket(Config()) == Path("/run/user/1000/flowpi/flowpi.sock")
    (tmp_path / "flowpi.sock").touch()
    assert paths.find_socket(Config()) == tmp_path / "flowpi.sock"


def test_a_private_directory_is_made_and_found_again(tmp_path: Path) -> None:
    made = paths.make_private(tmp_path / "own")
    assert made.stat().st_mode & 0o777 == 0o700
    assert paths.make_private(made) == made


@pytest.mark.parametrize("trap", ["open", "link", "file"])
def test_a_directory_that_others_prepared_is_refused(tmp_path: Path, trap: str) -> None:
    target = tmp_path / "target"
    if trap == "open":
        target.mkdir()
        target.chmod(0o755)
    elif trap == "link":
        (tmp_path / "real").mkdir(mode=0o700)
        target.symlink_to(tmp_path / "real")
    else:
        target.touch(mode=0o600)
    with pytest.raises(NoPermissionError) as caught:
        paths.make_private(target)
    assert str(caught.value) == (
        f"{target} is not a private directory of yours: remove it, or set XDG_RUNTIME_DIR to a directory of your own"
    )


def test_a_directory_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = paths.make_private(tmp_path / "own")
    monkeypatch.setattr(os, "geteuid", lambda: made.stat().st_uid + 1)
    with pytest.raises(NoPermissionError):
        paths.make_private(made)


def test_no_place_for_a_private_directory(tmp_path: Path) -> None:
    with pytest.raises(CannotCreateError, match=r"^cannot make .* \(No such file or directory\): set XDG_RUNTIME_DIR"):
        paths.make_private(tmp_path / "absent" / "own")


@pytest.mark.usefixtures("person")
def test_a_person_without_a_runtime_directory_gets_a_private_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[Path] = []

    def asked_for(directory: Path) -> Path:
        asked.append(directory)
        return directory

    monkeypatch.setattr(paths, "make_private", asked_for)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert paths.runtime_directory() == tmp_path / f"flowpi-{os.geteuid()}"
    assert asked == [tmp_path / f"flowpi-{os.geteuid()}"]
