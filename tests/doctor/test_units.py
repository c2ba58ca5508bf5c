"""The check of units, on output of systemd 252 and 257. `tests/system/test_doctor.py` has real units."""

import pytest

from flowpi.config.backends.flow import FlowSettings
from flowpi.config.command import CommandSettings
from flowpi.config.schema import Config, DictationSettings, PublishSettings
from flowpi.doctor import units
from flowpi.doctor.findings import Finding

OUTPUT = """\
User=flowpi
SupplementaryGroups=audio gpio
Id=flowpi.service
LoadState=loaded
ActiveState=active
SubState=running
UnitFileState=enabled
NRestarts=0
Result=success
ExecMainStatus=0
NeedDaemonReload=no

User=flowpi
SupplementaryGroups=
Id=flowpi-asr.service
LoadState=not-found
ActiveState=inactive
SubState=dead
UnitFileState=
NRestarts=0
Result=success
ExecMainStatus=0
NeedDaemonReload=no
"""
BOTH = ["flowpi.service", "flowpi-asr.service"]


def findings_of(**changed: str) -> list[Finding]:
    shown = units.parse(OUTPUT)
    shown["flowpi.service"] |= changed
    return units.judge(shown, ["flowpi.service"])


def test_one_that_runs_and_one_that_is_not_there() -> None:
    runs, missing = units.judge(units.parse(OUTPUT), BOTH)
    assert runs == Finding("flowpi.service", "ok", "works", "runs")
    assert missing == Finding("flowpi-asr.service", "warning", "not_installed", "is not installed", "sudo flowpi setup")


@pytest.mark.parametrize(
    ("changed", "level", "code", "message", "hint"),
    [
        (
            {"ActiveState": "failed", "Result": "exit-code", "ExecMainStatus": "77"},
            "failure",
            "failed",
            "exit code 77",
            "journalctl -xu flowpi",
        ),
        (
            {"ActiveState": "failed", "Result": "exit-code", "ExecMainStatus": "78"},
            "failure",
            "failed",
            "configuration is wrong",
            "flowpi config check",
        ),
        (
            {"ActiveState": "activating", "SubState": "auto-restart"},
            "failure",
            "failed",
            "again and again",
            "journalctl -xu flowpi",
        ),
        (  # as long as systemd 257 has yet to queue the start
            {"ActiveState": "failed", "SubState": "failed-before-auto-restart", "ExecMainStatus": "1"},
            "failure",
            "failed",
            "again and again",
            "journalctl -xu flowpi",
        ),
        (
            {"ActiveState": "inactive", "SubState": "dead"},
            "failure",
            "not_running",
            "inactive",
            "systemctl start flowpi",
        ),
        (
            {"LoadState": "masked"},
            "failure",
            "not_running",
            "masked",
            "unmask flowpi && sudo systemctl start",
        ),
        ({"UnitFileState": "disabled"}, "warning", "not_enabled", "with the machine", "systemctl enable flowpi"),
        ({"NRestarts": "3"}, "warning", "restarts", "3 times", "-p warning"),
        ({"NeedDaemonReload": "yes"}, "warning", "outdated", "unit file has changed", "daemon-reload"),
    ],
)
def test_what_can_be_wrong(changed: dict[str, str], level: str, code: str, message: str, hint: str) -> None:
    (finding,) = findings_of(**changed)
    assert (finding.level, finding.code) == (level, code)
    assert message in finding.message
    assert hint in finding.hint


def test_one_that_loads_is_no_fault() -> None:
    (finding,) = findings_of(ActiveState="activating", SubState="start")
    assert finding == Finding("flowpi.service", "ok", "works", "is starting")


def test_one_finding_for_each_fault() -> None:
    found = findings_of(ActiveState="failed", NRestarts="1", UnitFileState="disabled")
    assert [finding.code for finding in found] == ["failed", "not_enabled", "restarts"]


def test_the_recogniser_counts_where_it_is_used() -> None:
    assert units.wanted(Config()) == BOTH
    elsewhere = Config(
        dictation=DictationSettings(backends=("house",)), backends={"house": FlowSettings("ws://house.example/ws")}
    )
    assert units.wanted(elsewhere) == ["flowpi.service"]
    command = Config(publish=PublishSettings(command=CommandSettings(run=("/bin/note",))))
    assert units.wanted(command) == [*BOTH, "flowpi-hook.service"]


def test_where_systemd_does_not_run_nothing_is_wrong() -> None:
    if not units.SYSTEMD.is_dir():
        assert [finding.code for finding in units.examine(Config())] == ["skipped"]
    assert units.parse("") == {}
    assert [finding.code for finding in units.judge({}, ["flowpi.service"])] == ["not_installed"]
