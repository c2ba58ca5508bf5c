"""What `flowpi serve --hand-over` gives to the recogniser, and what it keeps from it."""

import os
import socket
import ssl
import subprocess
from pathlib import Path

import pytest
import yaml

from flowpi.cli.main import main
from flowpi.config.loading import load
from flowpi.config.schema import ServerSettings
from flowpi.config.secret import Secret
from flowpi.core.errors import CannotCreateError, HandedOverError
from flowpi.host.handover import handed_over
from flowpi.server.handover import hand_over
from flowpi.server.tls import load_tls


class Place:
    """The configuration and the directories of both services."""

    def __init__(self, directory: Path) -> None:
        self.config = directory / "flowpi.yaml"
        self.given, self.links, self.sockets = (directory / name for name in ("given", "flowpi", "flowpi-asr"))
        for each in (self.given, self.links, self.sockets):
            each.mkdir()

    def hand_over(self, text: str) -> None:
        self.config.write_text(text)
        hand_over(lambda: load(str(self.config)), self.given, sockets=self.sockets, links=self.links)

    def received(self) -> ServerSettings:
        return load(handed_over(self.given)).server

    def error(self) -> HandedOverError:
        with pytest.raises(HandedOverError) as caught:
            handed_over(self.given)
        return caught.value


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_the_recogniser_gets_its_section_and_no_secret_of_the_daemon(place: Place, tmp_path: Path) -> None:
    (tmp_path / "house-key").write_text("of-the-house\n")
    place.hand_over(
        f"""\
        backends: {{cloud: {{kind: flow, url: "wss://cloud.example/ws", client_key: of-the-daemon}}}}
        context: {{user_first_name: Ada}}
        server:
          max_sessions: 3
          api_keys: ["007", {{file: "{tmp_path}/house-key"}}, {{credential: flowpi_server}}, {{env: KEY}}]
          partners: {{"12": "a: 'quoted' #one"}}
        """
    )
    assert place.received() == ServerSettings(
        max_sessions=3,
        api_keys=(
            Secret("literal", "007"),
            Secret("literal", "of-the-house"),
            Secret("credential", "flowpi_server"),
            Secret("env", "KEY"),
        ),
        partners={"12": Secret("literal", "a: 'quoted' #one")},
    )
    assert place.received().listen == ("unix:/run/flowpi/asr.sock",), "no other directory, no other address"
    (file,) = place.given.iterdir()
    assert yaml.safe_load(file.read_text()).keys() == {"server"}
    assert "of-the-daemon" not in file.read_text()
    assert "Ada" not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o640


def test_the_certificate_goes_with_it(place: Place, tmp_path: Path) -> None:
    command = "openssl req -x509 -days 2 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=pi"
    files = ["-keyout", str(tmp_path / "private.pem"), "-out", str(tmp_path / "public.pem")]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    place.hand_over(f"server: {{tls: {{certificate: {tmp_path}/public.pem, key: {tmp_path}/private.pem}}}}")
    for file in tmp_path.glob("*.pem"):
        file.unlink()
    assert isinstance(load_tls(place.received().tls), ssl.SSLContext)
    # What was handed over before is gone.
    place.hand_over("server: {}")
    assert [file.name for file in place.given.iterdir()] == ["flowpi.yaml"]


@pytest.mark.parametrize(
    ("text", "exit_code", "message"),
    [
        ("audio: {rat: 16000}", 78, "flowpi.yaml, line 1: audio.rat is not a known key"),
        ("server: {api_keys: [{file: /nowhere}]}", 78, "secret {file: /nowhere}: cannot read it (No such file"),
        ("server: {tls: {certificate: /nowhere, key: /nowhere}}", 78, "server.tls.certificate cannot read /nowhere"),
        ("server: {listen: ['unix:in-the-way']}", 73, "exists and is no socket"),
        ("server: {listen: ['unix:answers']}", 73, "another server listens on unix:"),
    ],
)
def test_an_error_is_handed_over_and_the_recogniser_ends_with_it(
    place: Place,
    text: str,
    exit_code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    place.hand_over("server: {api_keys: [a-key-of-before]}")
    (place.links / "in-the-way").touch()
    with socket.socket(socket.AF_UNIX) as daemon:
        daemon.bind(str(place.links / "answers"))
        daemon.listen()
        place.hand_over(text.replace("unix:", f"unix:{place.links}/"))
        assert message in place.error().message
        assert (place.links / "answers").is_socket()
    assert [file.name for file in place.given.iterdir()] == ["error.json"]
    monkeypatch.setenv("FLOWPI_HANDED_OVER", str(place.given))
    assert main(["serve"]) == exit_code
    assert message in capfd.readouterr().err


def test_the_command_hands_an_error_over_and_succeeds(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    place.config.write_text("audio: {rat: 16000}")
    assert main(["serve", "--hand-over", str(place.given), "-c", str(place.config)]) == 0
    assert capfd.readouterr().err == ""
    assert place.error().hint == "did you mean audio.rate?"


def test_clients_find_the_sockets_where_they_have_always_been(place: Place) -> None:
    with socket.socket(socket.AF_UNIX) as ended:
        ended.bind(str(place.links / "asr.sock"))  # of version 0.1.0
    elsewhere = place.given.parent / "elsewhere.sock"
    for _ in range(2):
        place.hand_over(
            f"server: {{listen: ['unix:{place.links}/asr.sock', 'unix:{place.links}/house', 'unix:{elsewhere}']}}"
        )
        inside = [f"unix:{place.sockets}/asr.sock", f"unix:{place.sockets}/house"]
        assert place.received().listen == (*inside, f"unix:{elsewhere}")
        found = {path.name: os.readlink(path) for path in place.links.iterdir()}
        assert found == {name: str(place.sockets / name) for name in ("asr.sock", "house")}
    assert not elsewhere.is_symlink()
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(str(place.sockets / "asr.sock"))
        server.listen()
        client.connect(str(place.links / "asr.sock"))


def test_a_file_of_somebody_else_stays(place: Place) -> None:
    (place.given / "notes.txt").write_text("mine")
    (place.given / "folder").mkdir()
    for _ in range(2):
        place.hand_over("server: {max_sessions: 3}")
    assert (place.given / "notes.txt").read_text() == "mine"
    assert place.received().max_sessions == 3


def test_where_nothing_can_be_written_is_the_end(place: Place) -> None:
    place.given.rmdir()
    with pytest.raises(CannotCreateError, match="No such file"):
        place.hand_over("server: {}")
