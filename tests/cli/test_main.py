"""The command line as a program: what it prints where, and its exit code."""

import argparse
import gc
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from flowpi import __version__
from flowpi.cli import commands, parser
from flowpi.cli import main as cli
from flowpi.config import loading
from flowpi.config.schema import Config
from flowpi.core.errors import DaemonUnavailable
from tests.docs.test_api import commands as commands_of
from tests.terminal import acting
from tests.waiting import PATIENCE_S

ALL_COMMANDS = [name for name, _ in commands_of(parser.parser()) if " " not in name]
COMMANDS = ["run", "serve", "demo", "record", "listen", "status", "transcribe", "config"]
QUIET: dict[str, object] = {"config": None, "overrides": [], "verbosity": 0}


@pytest.fixture(autouse=True)
def _no_system_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FLOWPI_CONFIG", raising=False)
    monkeypatch.setattr(loading, "DEFAULT_PATH", str(tmp_path / "etc" / "flowpi.yaml"))


@pytest.fixture(autouse=True)
def _log_untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowpi.host.systemd.setup_logging", lambda verbosity, *, service: None)


def ends(capfd: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = cli.main(argv)
    return code, *capfd.readouterr()


# Usage


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["status", "--josn"], "unrecognized arguments: --josn: see `flowpi --help`"),
        (["run", "now"], "unrecognized arguments: now: see `flowpi --help`"),
        (["config"], "the following arguments are required: ACTION: see `flowpi config --help`"),
        (["record"], "the following arguments are required: ACTION: see `flowpi record --help`"),
        (["transcribe"], "the following arguments are required: FILE: see `flowpi transcribe --help`"),
        (["status", "-c"], "argument -c/--config: expected one argument: see `flowpi status --help`"),
        (["demo", "a.wav", "--mic"], "argument --mic: not allowed with argument WAV: see `flowpi demo --help`"),
        (["config", "show", "-o", "led"], "led is not KEY=VALUE: as in --set audio.device=plughw:CARD=Device"),
    ],
)
def test_usage_errors_end_with_64(capfd: pytest.CaptureFixture[str], argv: list[str], message: str) -> None:
    assert ends(capfd, *argv) == (64, "", f"flowpi: {message}\n")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["statu"], "there is no command 'statu': did you mean status?"),
        (["transcrib", "a.wav"], "there is no command 'transcrib': did you mean transcribe?"),
        (["help"], "there is no command 'help': see `flowpi --help`"),
        (["version"], "there is no command 'version': see `flowpi --version`"),
        (["transcribe", "-f", "SRT", "a.wav"], "there is no format 'SRT': did you mean srt?"),
        (["bogus"], f"there is no command 'bogus': known: {', '.join(name for name in ALL_COMMANDS)}"),
        (["spool", "lst"], "there is no action 'lst': did you mean list?"),
        (["config", "fix"], "there is no action 'fix': known: check, show, schema"),
        (["record", "togle"], "there is no action 'togle': did you mean toggle?"),
        (["record", "again"], "there is no action 'again': known: start, stop, toggle, cancel"),
        (["sinks", "retri"], "there is no action 'retri': did you mean retry?"),
        (["light", "lisening"], "there is no pattern 'lisening': did you mean listening?"),
    ],
)
def test_an_unknown_word_is_answered_with_the_nearest(
    capfd: pytest.CaptureFixture[str], argv: list[str], message: str
) -> None:
    assert ends(capfd, *argv) == (64, "", f"flowpi: {message}\n")


def test_flowpi_alone_shows_the_help(capfd: pytest.CaptureFixture[str]) -> None:
    code, out, err = ends(capfd)
    assert (code, err) == (0, "")
    assert out == parser.parser().format_help()


@pytest.mark.parametrize(("name", "command"), [("", parser.parser()), *commands_of(parser.parser())])
def test_every_help_has_examples_and_explains_each_word(name: str, command: argparse.ArgumentParser) -> None:
    assert command.epilog
    heading, *examples = command.epilog.splitlines()
    assert heading == ("example:" if len(examples) == 1 else "examples:")
    for example in examples:
        words = shlex.split(example.partition(" > ")[0].removeprefix("  sudo"))
        assert Path(words[0]).name == "flowpi"
        assert " ".join(words[1:]).startswith(name)
        parser.parse(words[1:])
    for action in command._actions:
        assert action.help or isinstance(action, argparse._SubParsersAction), action


@pytest.mark.parametrize("argv", [["--version"], ["status", "--version"], ["config", "show", "--version"]])
def test_version_before_and_after_the_command(capfd: pytest.CaptureFixture[str], argv: list[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        cli.main(argv)
    assert capfd.readouterr() == (f"flowpi {__version__}\n", "")


def test_help_names_every_command(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        cli.main(["--help"])
    words = capfd.readouterr().out.split()
    assert set(COMMANDS) <= set(words)


def test_common_options_add_up_from_every_place() -> None:
    arguments = cli.parse(
        ["-v", "-o", "a=1", "-c", "x", "config", "-o", "b=2", "-v", "show", "-o", "c=3", "-c", "y", "-vv"]
    )
    assert arguments.overrides == ["a=1", "b=2", "c=3"]
    assert arguments.verbosity == 4
    assert arguments.config == "y"
    assert cli.parse(["-c", "x", "status"]).config == "x"


@pytest.mark.parametrize(
    ("argv", "command", "options"),
    [
        (["run"], commands.run, {}),
        (["serve"], commands.serve, {"listen": []}),
        (
            ["serve", "--listen", "0.0.0.0:8123", "--listen", "unix:/x"],
            commands.serve,
            {"overrides": ['server.listen=["0.0.0.0:8123", "unix:/x"]']},
        ),
        (["demo"], commands.demo, {"wav": None, "mic": False}),
        (["demo", "a.wav"], commands.demo, {"wav": "a.wav"}),
        (["demo", "--mic"], commands.demo, {"mic": True}),
        (["record", "toggle"], commands.record, {"action": "toggle"}),
        (["listen"], commands.listen, {"filters": [], "text": False, "count": None, "format": "json"}),
        (["listen", "state", "transcript/#"], commands.listen, {"filters": ["state", "transcript/#"], "text": False}),
        (["listen", "--text", "-n", "1"], commands.listen, {"filters": [], "text": True, "count": 1}),
        (["listen", "--format", "text", "a"], commands.listen, {"filters": ["a"], "format": "text"}),
        (["record", "stop", "--wait"], commands.record, {"action": "stop", "wait": True}),
        (["listen", "--since", "2h ago"], commands.listen, {"filters": [], "since": "2h ago"}),
        (["last"], commands.last, {"number": 1, "json": False}),
        (["last", "20", "--json"], commands.last, {"number": 20, "json": True}),
        (["sinks"], commands.sinks, {"action": "list", "names": [], "json": False}),
        (["sinks", "skip", "mqtt"], commands.sinks, {"action": "skip", "names": ["mqtt"]}),
        (["status", "--json", "--follow"], commands.status, {"json": True, "follow": True}),
        (
            ["transcribe", "a.wav"],
            commands.transcribe,
            {"files": ["a.wav"], "format": "txt", "to": None, "overrides": []},
        ),
        (["transcribe", "a.wav", "--backend", "x"], commands.transcribe, {"overrides": ['dictation.backends=["x"]']}),
        (["config", "check"], commands.config_check, {"reads_config": True}),
        (["config", "schema"], commands.config_schema, {"reads_config": False}),
    ],
)
def test_what_is_asked(argv: list[str], command: commands.Command, options: dict[str, object]) -> None:
    found = vars(cli.parse(argv))
    assert found["command"] is command
    assert {name: found[name] for name in options | QUIET} == QUIET | options


def test_the_service_is_understood_without_the_parser() -> None:
    assert cli.parse(["run"]) == parser.parse(["run"])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["serve", "--listen", "x"], "--listen must be HOST:PORT or unix:PATH, not 'x'"),
        (
            ["serve", "--listen", "0.0.0.0:8123"],
            "--listen 0.0.0.0:8123 is open to other machines, and no keys are set: "
            "set server.api_keys or server.partners, or listen on 127.0.0.1",
        ),
        (["transcribe", "a.wav", "--backend", "loca"], "there is no backend for `--backend loca`: did you mean local?"),
        (["transcribe", "a.wav", "--backend", "nope"], "there is no backend for `--backend nope`: known: local"),
    ],
)
def test_a_short_option_that_is_wrong_is_named(
    capfd: pytest.CaptureFixture[str], argv: list[str], message: str
) -> None:
    assert ends(capfd, *argv) == (64, "", f"flowpi: {message}\n")


def test_a_setting_that_is_wrong_beside_a_short_option_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    ended = ends(capfd, "serve", "--listen", "127.0.0.1:8123", "-o", "server.max_sessions=-1")
    assert ended[0] == 78
    assert "--set: server.max_sessions" in ended[2]


# How a command ends


def instead(monkeypatch: pytest.MonkeyPatch, command: commands.Command) -> None:
    for module in (cli, parser):
        monkeypatch.setattr(module, "status", command)


def test_the_exit_code_and_the_configuration_of_a_command(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def status(arguments: commands.Arguments, config: Config) -> int:
        return config.led.pin

    instead(monkeypatch, status)
    assert ends(capfd, "status", "--set", "led.pin=5") == (5, "", "")


def test_with_a_bad_configuration_the_daemon_is_asked_all_the_same(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def status(arguments: commands.Arguments, config: Config) -> int:
        return 0 if config == Config() else 1

    instead(monkeypatch, status)
    bad = tmp_path / "flowpi.yaml"
    bad.write_text("leds: {}")
    monkeypatch.setenv("FLOWPI_CONFIG", str(bad))
    code, out, err = ends(capfd, "status")
    assert (code, out) == (0, "")
    assert err.startswith(f"flowpi: warning: {bad}, line 1: leds is not a known key")
    assert ends(capfd, "status", "--config", str(bad))[0] == 78
    assert ends(capfd, "config", "check")[0] == 78


def test_an_error_of_ours_is_one_line(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def status(arguments: commands.Arguments, config: Config) -> int:
        raise DaemonUnavailable("no daemon on /run/flowpi/flowpi.sock", "systemctl start flowpi")

    instead(monkeypatch, status)
    message = "flowpi: no daemon on /run/flowpi/flowpi.sock: systemctl start flowpi\n"
    assert ends(capfd, "status") == (69, "", message)


def test_ctrl_c_is_quiet(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def status(arguments: commands.Arguments, config: Config) -> int:
        raise KeyboardInterrupt

    instead(monkeypatch, status)
    assert ends(capfd, "status") == (130, "", "")


def test_a_fault_of_ours_is_one_line_without_what_it_held(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def status(arguments: commands.Arguments, config: Config) -> int:
        raise ValueError("s3cret")

    instead(monkeypatch, status)
    code, out, err = ends(capfd, "status")
    line = status.__code__.co_firstlineno + 1
    assert (code, out) == (70, "")
    assert err == (
        f"flowpi: internal error (ValueError in test_main.py, line {line}): "
        "please report it, with what you see when you run it again with -v\n"
    )
    code, out, err = ends(capfd, "status", "-v")
    assert (code, out) == (70, "")
    assert "Traceback" in err


# config


def test_config_check(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_text("server: {partners: {ward: s3cret}}")
    file.chmod(0o644)
    assert ends(capfd, "config", "check", "-c", str(file)) == (
        0,
        f"{file}: ok\n",
        f"flowpi: warning: {file}: server.partners.ward can be read by every user of this machine: "
        f"chmod 640 {file}, or use {{credential: NAME}} or {{file: PATH}}\n",
    )
    file.write_text("audio:\n  ratee: 1")
    message = f"flowpi: {file}, line 2: audio.ratee is not a known key: did you mean audio.rate?\n"
    assert ends(capfd, "config", "check", "-c", str(file)) == (78, "", message)
    assert ends(capfd, "config", "check") == (0, "built-in defaults: ok\n", "")


def test_config_check_refuses_what_ends_the_daemon(capfd: pytest.CaptureFixture[str]) -> None:
    code, out, err = ends(capfd, "config", "check", "-o", "publish.keyboard.kind=gadget")
    assert (code, out) == (78, "")
    assert err.startswith("flowpi: --set: publish.keyboard.kind must be hid, none or uinput, not 'gadget'")


def test_config_show(capfd: pytest.CaptureFixture[str]) -> None:
    code, out, err = ends(capfd, "config", "show", "-o", "server.partners.ward=s3cret", "-o", "led.pin=5")
    assert (code, err) == (0, "")
    tree = yaml.safe_load(out)
    assert tree["server"]["partners"]["ward"] == "***"
    assert tree["led"]["pin"] == 5
    assert "s3cret" not in out


def test_config_schema_needs_no_good_configuration(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWPI_CONFIG", "/absent")
    code, out, err = ends(capfd, "config", "schema")
    assert (code, err) == (0, "")
    assert json.loads(out)["title"] == "flowpi.yaml"


# As a process


def flowpi(*argv: str, stdout: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flowpi", *argv]
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    root = Path(__file__).parents[2]
    return subprocess.run(
        command,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        cwd=root,
        env=environ,
    )


@pytest.mark.parametrize("action", ["schema", "check"])  # its output is larger than the buffer of stdout, or smaller
def test_a_reader_that_goes_away_is_no_error(action: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ended = flowpi("config", action, stdout=writer)
    finally:
        os.close(writer)
    assert (ended.returncode, ended.stderr) == (141, "")


def test_no_garbage_is_collected_until_the_daemon_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    collected: list[bool] = []

    def run(*_: object) -> int:
        collected.append(gc.isenabled())
        return 0

    monkeypatch.setattr("flowpi.appliance.daemon.run", run)
    assert cli.main(["run"]) == 0
    assert collected == [False]
    assert gc.isenabled(), "whatever becomes of the daemon"


@pytest.mark.parametrize("module", ["yaml", "numpy", "asyncio", "websockets", "urllib.request"])
def test_importing_the_command_line_is_cheap(module: str) -> None:
    program = f"import sys, flowpi.cli.main, flowpi.config.loading; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, cwd=Path(__file__).parents[2]).returncode == 0


@pytest.mark.parametrize(
    "locale",
    [
        {"PYTHONIOENCODING": "iso-8859-1"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"LC_ALL": "C.UTF-8"},
    ],
)
def test_what_a_locale_cannot_say_is_escaped(locale: dict[str, str]) -> None:
    command = [sys.executable, "-m", "flowpi", "-o", "context.user_first_name=\u0141ukasz", "config", "show"]
    done = subprocess.run(command, env={**os.environ, **locale}, capture_output=True, timeout=PATIENCE_S)
    assert (done.returncode, done.stderr) == (0, b"")
    name = "\u0141ukasz".encode() if "UTF-8" in locale.get("LC_ALL", "") else b"\\u0141ukasz"
    assert name in done.stdout


@pytest.mark.parametrize(
    "argv",
    [
        ["-o", "audio.\x1b[31mdev=3", "config", "check"],
        ["-c", "/absent/\x1b[31mno\nsuch", "config", "check"],
        ["spool", "list", "\x1b[31m"],
        ["transcribe", "/absent/\x1b]0;title\x07.wav"],
        ["\x1b[31m"],
    ],
)
def test_an_error_does_nothing_to_a_terminal(capfd: pytest.CaptureFixture[str], argv: list[str]) -> None:
    _, out, said = ends(capfd, *argv)
    assert not acting(out)
    assert said.startswith("flowpi: ")
    for line in said.splitlines():
        assert not acting(line)
        assert line.startswith("flowpi: ")
