"""The plans of `flowpi setup`, from the state of a machine."""

from pathlib import Path

import msgspec
import pytest

from flowpi.core.errors import UsageError
from flowpi.setup import files, plan
from flowpi.setup.files import installed, is_ours
from flowpi.setup.machine import COMMAND, CONFIG, Machine, look, systemd_version
from flowpi.setup.steps import Delete, DeleteFolder, RunProgram, Say, Step, Symlink, Write

SHIPPED = {
    "flowpi.service": b"[Unit]\n[Service]\nExecStart=/opt/flowpi/bin/flowpi run\n"
    b"ExecPaths=/opt/flowpi -/usr/lib/python3.11\n\n[Install]\nWantedBy=multi-user.target\n",
    "flowpi-asr.service": b"[Service]\nExecStart=/opt/flowpi/bin/flowpi serve\n\n[Install]\n",
    "flowpi-light.service": b"[Service]\nExecStart=/opt/flowpi/bin/flowpi light\n",
    "flowpi-first.service": b"[Service]\nType=oneshot\nExecStart=/opt/flowpi/bin/flowpi first\n\n[Install]\n",
    "flowpi.rules": b"# rules\n",
}
UNIT = "/etc/systemd/system/flowpi.service"
RULES = "/etc/udev/rules.d/60-flowpi.rules"
EMPTY = Machine(root="", environment="/opt/flowpi", libraries="/usr/lib/python3.11")
FILES = installed(SHIPPED, EMPTY.environment, EMPTY.libraries)


def install(here: Machine) -> list[Step]:
    return plan.install(here, SHIPPED, b"led: {}\n")


def after(steps: list[Step], here: Machine) -> Machine:
    """Return the state of the machine after the steps."""
    there = dict(here.files)
    for step in steps:
        if isinstance(step, Write) and step.path != CONFIG:
            there[step.path] = step.content
    return msgspec.structs.replace(
        here, files=there, config=True, users=("flowpi", "flowpi-asr", "flowpi-hook"), command="/opt/flowpi/bin/flowpi"
    )


def written(steps: list[Step]) -> dict[str, bytes]:
    return {step.path: step.content for step in steps if isinstance(step, Write)}


def programs(steps: list[Step]) -> list[str]:
    return [" ".join(step.arguments) for step in steps if isinstance(step, RunProgram)]


def said(steps: list[Step]) -> list[str]:
    return [step.text for step in steps if isinstance(step, Say)]


def test_the_files_are_there_before_the_user_that_they_name_and_this_before_what_runs_as_it() -> None:
    steps = install(EMPTY)
    assert written(steps) == {**FILES, CONFIG: b"led: {}\n"}
    assert Symlink(COMMAND, "/opt/flowpi/bin/flowpi") in steps
    kinds = [type(step) for step in steps]
    assert max(i for i, kind in enumerate(kinds) if kind is Write) < kinds.index(RunProgram)
    assert programs(steps) == [
        "systemd-sysusers flowpi.conf",
        "systemd-tmpfiles --create flowpi.conf",
        "systemctl daemon-reload",
        "systemctl enable flowpi-first.service flowpi-asr.service flowpi.service",
        "systemctl restart flowpi-first.service flowpi-asr.service flowpi.service",
    ]


@pytest.mark.parametrize(("systemd", "is_known"), [(252, False), (253, False), (254, True), (257, True), (None, True)])
def test_a_key_that_systemd_does_not_know_is_left_out(systemd: int | None, is_known: bool) -> None:
    unit = (files.SHIPPED / "systemd/flowpi.service").read_bytes()
    found = plan.install(msgspec.structs.replace(EMPTY, systemd=systemd), {"flowpi.service": unit}, b"")
    content = written(found)[UNIT]
    assert (b"\nRestartMode=direct\n" in content) is is_known
    assert is_ours(content)
    assert content.count(b"\n") == unit.count(b"\n") + is_known


@pytest.mark.parametrize(
    ("library", "version"),
    [
        ("usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-252.so", 252),
        ("usr/lib/systemd/libsystemd-shared-255.4-1.fc40.so", 255),
        ("usr/lib/systemd/systemd", None),
    ],
)
def test_the_version_of_systemd_is_that_of_its_library(tmp_path: Path, library: str, version: int | None) -> None:
    (tmp_path / library).parent.mkdir(parents=True)
    (tmp_path / library).touch()
    assert systemd_version(str(tmp_path)) == version


def test_devices_that_are_there_get_their_group_before_the_services_start() -> None:
    ran = programs(install(msgspec.structs.replace(EMPTY, udev=True)))
    kinds = ("gpio", "spidev", "misc", "hidg")
    trigger = " ".join(["udevadm trigger --settle", *(f"--subsystem-match={kind}" for kind in kinds)])
    assert ran.index("systemd-sysusers flowpi.conf") < ran.index("udevadm control --reload") < ran.index(trigger)
    assert ran.index(trigger) < ran.index("systemctl daemon-reload")


def test_the_second_time_nothing_is_written_and_nothing_interrupted() -> None:
    steps = install(after(install(EMPTY), EMPTY))
    assert not [step for step in steps if isinstance(step, Write | Symlink | Delete)]
    assert [run for run in programs(steps) if "restart" in run or " start " in run] == [
        "systemctl start flowpi-first.service flowpi-asr.service flowpi.service"
    ]


@pytest.mark.parametrize("cut", range(1, 8))
def test_a_run_that_was_cut_off_is_gone_on_with(cut: int) -> None:
    whole = install(EMPTY)
    there = {step.path: step.content for step in whole[:cut] if isinstance(step, Write) and step.path != CONFIG}
    again = install(msgspec.structs.replace(EMPTY, files=there))
    assert {**there, **written(again)} == written(whole)
    assert programs(again)[-1].replace(" start ", " restart ") == programs(whole)[-1]


def test_what_an_earlier_version_wrote_is_replaced_and_taken_into_use() -> None:
    earlier = installed(
        {"flowpi.service": b"[Service]\nExecStart=/opt/flowpi/bin/flowpi old\n"}, "/opt/flowpi", EMPTY.libraries
    )
    there = after(install(EMPTY), EMPTY)
    steps = install(msgspec.structs.replace(there, files={**there.files, **earlier}))
    assert list(written(steps)) == [UNIT]
    assert any(run.startswith("systemctl restart") for run in programs(steps))


@pytest.mark.parametrize("content", [b"# mine\n", FILES[UNIT] + b"# mine\n", None])
def test_what_the_owner_changed_is_kept_and_told(content: bytes | None) -> None:
    there = after(install(EMPTY), EMPTY)
    changed = msgspec.structs.replace(there, files={**there.files, UNIT: content})
    for steps in (install(changed), plan.remove(changed, SHIPPED, purge=True)):
        assert not [step for step in steps if isinstance(step, Write | Delete) and step.path == UNIT]
        assert [text for text in said(steps) if text.startswith(f"keep {UNIT}: it was changed by hand")]


def test_the_owners_configuration_and_command_are_kept() -> None:
    steps = install(msgspec.structs.replace(EMPTY, config=True, command=""))
    assert CONFIG not in written(steps)
    assert not [step for step in steps if isinstance(step, Symlink)]
    assert f"keep {COMMAND}: it is not the flowpi in /opt/flowpi" in said(steps)


def test_the_units_start_the_flowpi_that_was_set_up() -> None:
    there = msgspec.structs.replace(EMPTY, environment="/srv/flow", libraries="/srv/python/lib")
    unit = written(install(there))[UNIT].decode()
    assert "ExecStart=/srv/flow/bin/flowpi run\n" in unit
    assert "ExecPaths=-/srv/python/lib /srv/flow -/usr/lib/python3.11\n" in unit
    assert "/opt/flowpi" not in unit
    assert is_ours(unit.encode())


def test_without_the_recogniser_its_service_stays_off_and_the_rest_is_on() -> None:
    steps = install(msgspec.structs.replace(EMPTY, model=False))
    assert "systemctl enable flowpi-first.service flowpi.service" in programs(steps)
    assert not [run for run in programs(steps) if "asr" in run]
    assert any("no recogniser in /opt/flowpi" in text for text in said(steps))


def test_in_an_image_nothing_is_started() -> None:
    image = msgspec.structs.replace(EMPTY, root="/mnt/image", catalog=True)
    ran = programs(install(image)) + programs(plan.remove(after(install(image), image), SHIPPED, purge=True))
    assert all("/mnt/image" in run for run in ran)
    assert {run.split()[0] for run in ran} == {
        "systemd-sysusers", "systemd-tmpfiles", "journalctl", "systemctl", "userdel", "groupdel",
    }  # fmt: skip
    assert {run.split()[2] for run in ran if run.startswith("systemctl")} == {"enable", "disable"}


def test_removing_stops_first_deletes_what_is_flowpis_and_keeps_the_data() -> None:
    steps = plan.remove(after(install(EMPTY), EMPTY), SHIPPED, purge=False)
    deleted = [step.path for step in steps if isinstance(step, Delete)]
    assert set(deleted) == {*FILES, COMMAND}
    stop = steps.index(RunProgram(("systemctl", "stop", "flowpi*.service"), may_fail=True))
    assert stop < steps.index(Delete(UNIT)) < steps.index(RunProgram(("systemctl", "daemon-reload")))
    folders = [step.path for step in steps if isinstance(step, DeleteFolder) and not step.if_empty]
    assert folders == [
        *("/run/flowpi", "/run/flowpi-asr", "/run/flowpi-asr-config"),
        *("/run/flowpi-hook-config", "/run/flowpi-keyboard-config", "/run/flowpi-provision"),
    ]
    assert any(text.startswith("keep /etc/flowpi and /var/lib/flowpi") for text in said(steps))


def test_purging_deletes_the_data_before_its_user() -> None:
    steps = plan.remove(after(install(EMPTY), EMPTY), SHIPPED, purge=True)
    for user in ("flowpi", "flowpi-asr", "flowpi-hook"):
        assert steps.index(DeleteFolder("/var/lib/flowpi-hook")) < steps.index(RunProgram(("userdel", user)))
        assert steps.index(DeleteFolder("/var/lib/flowpi")) < steps.index(RunProgram(("userdel", user)))
    assert DeleteFolder("/etc/flowpi") in steps


def test_where_nothing_is_nothing_is_taken_back() -> None:
    steps = plan.remove(EMPTY, SHIPPED, purge=True)
    assert not [step for step in steps if isinstance(step, Delete)]
    assert not [run for run in programs(steps) if "disable" in run or "userdel" in run]


def test_every_file_in_systemd_is_shipped_and_has_its_place() -> None:
    names = {path.name for path in (files.SHIPPED / "systemd").iterdir()}
    shipped = files.read_shipped()
    assert set(shipped) == names
    assert len({files.place(name) for name in names}) == len(names)
    assert {UNIT, RULES, "/etc/sysusers.d/flowpi.conf", "/etc/tmpfiles.d/flowpi.conf"} <= set(map(files.place, names))
    assert "flowpi.service" in files.enabled(shipped)


@pytest.mark.parametrize("name", ["flowpi", "flowpi-asr", "flowpi-hook"])
def test_a_person_keeps_the_name(name: str) -> None:
    person = msgspec.structs.replace(EMPTY, persons=(name,))
    with pytest.raises(UsageError, match=f"the user {name} is a person's.*rename it"):
        install(person)
    assert "userdel" not in " ".join(programs(plan.remove(person, SHIPPED, purge=True)))


@pytest.mark.parametrize(("number", "person"), [(1000, True), (998, False)])
def test_a_person_is_known_by_the_number(tmp_path: Path, number: int, person: bool) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(
        f"root:x:0:0::/root:/bin/sh\nflowpi:x:{number}:{number}::/nonexistent:/bin/sh\nflowpi-asr:x:997:997::/:/bin/sh\n"
    )
    (tmp_path / "opt/flowpi/bin").mkdir(parents=True)
    (tmp_path / "opt/flowpi/bin/flowpi").touch()
    (tmp_path / "opt/flowpi/pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.11.2\n")
    found = look(str(tmp_path), [])
    assert (found.persons, found.users) == (
        (("flowpi",), ("flowpi-asr",)) if person else ((), ("flowpi", "flowpi-asr"))
    )


def test_without_a_recogniser_there_is_no_unit_of_it() -> None:
    steps = install(msgspec.structs.replace(EMPTY, model=False))
    assert not any("asr" in path for path in written(steps))
    assert not any("asr" in program for program in programs(steps))


def test_a_masked_unit_stays_masked() -> None:
    masked = msgspec.structs.replace(EMPTY, files={"/etc/systemd/system/flowpi-asr.service": None})
    steps = install(masked)
    assert not any("asr" in program for program in programs(steps))
    assert "systemctl enable flowpi-first.service flowpi.service" in programs(steps)
