"""The whole doctor: the printed findings, and that no check hides another."""

import asyncio
import json
import threading
from pathlib import Path

import pytest

from flowpi.cli.main import main
from flowpi.config.backends.flow import FlowSettings
from flowpi.config.schema import (
    Config,
    DictationSettings,
    FilesSettings,
    PublishSettings,
    SocketSettings,
    SpoolSettings,
)
from flowpi.core.errors import ConfigError, FlowpiError, NoPermissionError
from flowpi.doctor.findings import Finding, fine
from flowpi.doctor.run import Threads, boot_file, doctor, on_thread
from flowpi.host import boot_config_status
from tests.waiting import PATIENCE_S


def config_of(place: Path, port: int) -> Config:
    return Config(
        dictation=DictationSettings(backends=("b0",)),
        backends={"b0": FlowSettings(f"ws://127.0.0.1:{port}/ws")},
        publish=PublishSettings(
            socket=SocketSettings(path=str(place / "flowpi.sock")),
            files=FilesSettings(directory=str(place / "transcripts")),
        ),
        spool=SpoolSettings(directory=str(place / "spool")),
    )


def test_what_is_printed(capsys: pytest.CaptureFixture[str], tmp_path: Path, unused_tcp_port: int) -> None:
    config = config_of(tmp_path, unused_tcp_port)
    assert doctor(lambda: config) == 2
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("failure  backend b0: is not reached (")
    assert any(line.startswith("failure  socket: no daemon answers on ") for line in lines)
    assert any(line.startswith("ok       disk: there is room in ") for line in lines)
    assert doctor(lambda: config, as_json=True) == 2
    found = json.loads(capsys.readouterr().out)
    assert found[0]["part"] == "backend b0"
    assert all(finding.keys() == {"part", "level", "code", "message", "hint"} for finding in found)
    assert all(finding["hint"] for finding in found if finding["level"] != "ok")


@pytest.mark.parametrize(
    ("error", "level", "code", "hint"),
    [
        (ConfigError("flowpi.yaml", 3, "audo", "is not a known key", "did you mean audio?"), "failure", "configuration",
         "did you mean audio?"),
        (NoPermissionError("may not read flowpi.yaml", "check your groups"), "warning", "unreadable",
         "run it as root (sudo flowpi doctor)"),
    ],
)  # fmt: skip
def test_a_configuration_that_cannot_be_used_is_a_finding(
    capsys: pytest.CaptureFixture[str], error: FlowpiError, level: str, code: str, hint: str
) -> None:
    def read() -> Config:
        raise error

    doctor(read, as_json=True)
    first, *others = json.loads(capsys.readouterr().out)
    assert first == {
        "part": "configuration", "level": level, "code": code, "message": error.message, "hint": hint,
    }  # fmt: skip
    assert {"clock", "socket"} <= {finding["part"] for finding in others}


def test_the_command_says_what_is_wrong_with_the_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json", "--set", "audo.device=x"]) == 2
    assert json.loads(capsys.readouterr().out)[0]["code"] == "configuration"
    assert main(["doctor", "--panel", "--calibrate"]) == 64


async def test_one_that_breaks_is_a_finding() -> None:
    def breaks() -> list[Finding]:
        raise ValueError("no number")

    (finding,) = await on_thread("clock", breaks)
    assert (finding.part, finding.level, finding.code) == ("clock", "warning", "internal")
    assert finding.message == "internal error (ValueError)"


async def test_one_that_hangs_is_a_finding() -> None:
    stuck = threading.Event()

    def hangs() -> list[Finding]:
        stuck.wait(PATIENCE_S)
        return [fine("disk", "is back")]

    (finding,) = await on_thread("disk", hangs, patience_s=0.05)
    stuck.set()
    assert (finding.part, finding.level, finding.code) == ("disk", "failure", "hangs")


def test_nobody_waits_for_a_thread_at_the_end() -> None:
    stuck = threading.Event()

    async def leave_one_behind() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(Threads())
        loop.run_in_executor(None, stuck.wait)

    asyncio.run(leave_one_behind())
    left = [thread for thread in threading.enumerate() if thread.name == "doctor"]
    assert left
    assert all(thread.daemon for thread in left)
    stuck.set()


def test_a_file_on_the_boot_partition_that_was_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boot_config_status, "RUN", tmp_path)
    assert boot_file() == []
    boot_config_status.tell(
        tmp_path, "/boot/firmware/flowpi.yaml, line 3: audo is not a known key: did you mean audio?"
    )
    (finding,) = boot_file()
    assert (finding.part, finding.level, finding.code) == ("configuration", "failure", "boot_file")
    assert "line 3: audo" in finding.message
    assert "systemctl restart flowpi-provision flowpi" in finding.hint


async def test_one_that_answers_is_heard() -> None:
    assert await on_thread("disk", lambda: [fine("disk", "room")]) == [Finding("disk", "ok", "works", "room")]
