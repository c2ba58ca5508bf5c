"""What the services cannot do, tried from inside of each: `tests/rig/guest/probe.py` as the program of its unit.

The same program is run as root with no sandbox: what it cannot do there either proves nothing, and is named. And it
is run behind each directive of the units alone, which must be enough to keep it from something.
"""

import json
import shlex
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.rig.container import Container
from tests.rig.image import GUEST
from tests.rig.machine import Machine
from tests.system.talking import speak_from_file

PROBE = "/usr/lib/flowpi-probe.py"

DROP_IN = """\
[Service]
Type=oneshot
ExecCondition=
ExecStart=
ExecStart=/usr/bin/python3 -B {probe}
Restart=no
StandardOutput=truncate:/root/probe.json
"""

INTRUDER = "/usr/lib/flowpi-intruder.py"

BY_THE_SAME_USER = {
    "read the spool",
    "list the spool",
    "read the transcripts",
    "read the configuration",
    "read a secret of the group",
    "read a credential",
    "handle faults of memory",
    "find it",
    "find it by a handle",
    "limit it",
    "command it",
    "replace its socket",
    "ask root's services",
    "end it",
}
"""What a program of the daemon's user can do outside of any sandbox: nothing with its memory and its open files."""

OF_ALL = {"write /tmp", "open /dev/null", "start a hundred processes"}

OWN = {
    "flowpi": {
        *OF_ALL,
        "write /run/flowpi",
        "write /var/lib/flowpi",
        "a local socket",
        "a socket of the internet",
        "reach a program by the network",
        "use the memory of others",  # ALSA's dsnoop shares a microphone by it
    },
    "flowpi-asr": {
        *OF_ALL,
        "write /run/flowpi-asr",
        "read what the kernel tells all",
        "a local socket",
    },
    "flowpi-signal": {*OF_ALL, "a local socket"},
    "flowpi-hook": {*OF_ALL, "write /var/lib/flowpi-hook", "a local socket"},
    # As root, but with no capability: it owns what is root's, and may read that.
    "flowpi-provision": {
        *OF_ALL,
        "write /etc/flowpi",
        "write /etc/wpa_supplicant",
        "write /etc/NetworkManager",
        "write /boot",
        "write /run/flowpi-provision",
        "see the boot partition",
        "read /etc/shadow",
        "read the journal",
    },
}
"""The probes that succeed in each service, in a container."""

DEVICES = {
    "flowpi": {"open /dev/gpiochip0", "open the sound card"},
    "flowpi-asr": set[str](),
    "flowpi-signal": {"open /dev/gpiochip0"},
    "flowpi-hook": set[str](),
    "flowpi-provision": set[str](),
}
"""And where there are such devices."""

ONLY_ON_A_MACHINE = {
    "open /dev/kmsg",
    "open /dev/mem",
    "open the disk",
    "open /dev/uinput",
    "open /dev/input",
    "open /dev/rtc",
    "open /dev/gpiochip0",
    "open the sound card",
    "a socket for raw packets",
    "a socket of another machine",
    "set the clock",
    "read the kernel's log",
    "load a module",
    "load BPF",
    "change a kernel variable",
    "take an open file of a process",
    "keep a key in the kernel",
    "swap",
}
"""The probes that no program can do in a container."""

NOT_IN_A_CONTAINER = {"start a hundred processes"}
"""The probes that a container cannot prevent, as it lacks the control groups."""

NOT_EVEN_ROOT = {"take an open file", "limit it"}
"""What root cannot do to the daemon in a container. The second one the daemon's user can, outside of a sandbox."""

NEVER = {"a socket of another machine", "load a module", "load BPF", "swap"}
"""The probes that fail even for root, as there is nothing to load, to reach or to swap."""

FENCES = {
    "User": {"read /etc/shadow", "write /etc", "mount a file system"},
    "UMask": {"make a file that others can read"},
    "LimitNOFILE": {"open 5000 files"},
    "LimitCORE": {"leave an image of its memory"},
    "PrivateDevices": {"make a device"},
    "PrivateNetwork": {"reach a program by the network"},
    "RestrictAddressFamilies": {"a socket of the kernel"},
    "PrivateIPC": {"use the memory of others"},
    "NoNewPrivileges": {"use a program with more rights"},
    "CapabilityBoundingSet": {"give a file away", "change the root", "mount a file system", "make a device"},
    "ProtectSystem": {"write /etc", "write /usr", "write /opt/flowpi", "write /var/lib", "write /boot"},
    "ReadOnlyPaths": {"write /run", "write /run/lock"},
    "ProtectHome": {"see a file in /home", "write /home"},
    "PrivateTmp": {"see a file in /tmp"},
    "PrivateMounts": {"mount for all to see"},
    "InaccessiblePaths": {"write /dev/shm", "ask root's services"},
    "ProtectKernelModules": {"see the modules of the kernel"},
    "ProtectHostname": {"set the host name"},
    "ProtectControlGroups": {"change a control group"},
    "ProtectProc": {"see processes of others"},
    "RestrictNamespaces": {"make a user namespace", "make a mount namespace", "make a network namespace"},
    "RestrictRealtime": {"real-time scheduling"},
    "RestrictSUIDSGID": {"make a program for another user"},
    "LockPersonality": {"another personality"},
    "MemoryDenyWriteExecute": {"map memory to write and execute", "make memory executable"},
    "SystemCallArchitectures": {"call as another architecture"},
    "SystemCallFilter": {
        "start a program from memory",
        "trace a process",
        "mount a file system",
        "change the root",
        "read the memory of a process",
        "write the memory of a process",
        "compare two processes",
        "handle faults of memory",
        "choose its processor",
    },
    "NoExecPaths": {
        "start a program that it wrote",
        "start a program of the machine",
        "start a program by the loader",
        "load a library that it wrote",
    },
}
"""The probes that each directive prevents, even without the others."""

FENCES_OF_SOME = {
    "ProcSubset": {"read what the kernel tells all"},
    "BindReadOnlyPaths": {"write /opt/flowpi", "write to the libraries"},
}
"""The same for flowpi-provision."""

FENCES_OF_A_MACHINE = {
    "DevicePolicy": {"open the disk", "open /dev/rtc", "open /dev/kmsg"},
    "IPAddressDeny": {"reach a program by the network"},
    "TasksMax": {"start a hundred processes"},
    "ProtectKernelTunables": {"change a kernel variable"},
    "ProtectKernelLogs": {"read the kernel's log"},
    "ProtectClock": {"set the clock"},
}

TOGETHER = {"NoExecPaths": "ExecPaths", "SystemCallFilter": "SystemCallErrorNumber"}
"""Without the second the program would not start, or end at the first refusal."""

AS_ITS_USER = {"LimitNOFILE", "LimitCORE", "ProtectProc"}
"""The directives that do not restrict root."""

GATES = {
    "ConfigurationDirectory",
    "DeviceAllow",
    "ExecPaths",
    "ReadWritePaths",
    "RuntimeDirectory",
    "StateDirectory",
    "SupplementaryGroups",
}
"""Directives that allow something, which `OWN` and `DEVICES` list."""

ELSEWHERE = {
    "LoadCredential": "test_a_key_on_the_boot_partition_becomes_a_credential_before_the_daemon_starts",
    "SetCredential": "test_it_takes_a_dictation_with_no_network",
    "MemoryMax": "test_no_more_memory_than_its_own",
    "RemoveIPC": "test_shared_memory_goes_with_its_service",
    "Group": "test_a_service_can_do_what_is_its_own_and_nothing_else",
    "SystemCallErrorNumber": "test_a_service_can_do_what_is_its_own_and_nothing_else",
    "ConfigurationDirectoryMode": "test_a_service_can_do_what_is_its_own_and_nothing_else",
    "RuntimeDirectoryMode": "test_a_service_can_do_what_is_its_own_and_nothing_else",
    "StateDirectoryMode": "test_a_service_can_do_what_is_its_own_and_nothing_else",
    "RuntimeDirectoryPreserve": "test_it_stops_in_time_and_starts_with_the_system",
    "ExecStartPre": "test_a_bad_configuration_is_not_tried_again",
    "ExecCondition": "test_a_command_gets_each_text_once_it_is_configured",
}
"""The directives that a test elsewhere covers, and its name."""

NOT_TRIED = {
    "MemoryHigh": "it slows down and refuses nothing; what refuses is MemoryMax",
    "MemorySwapMax": "the appliance has no swap",
}

LIFE = {
    "Type",
    "NotifyAccess",
    "ExecStart",
    "ExecReload",
    "KillMode",
    "Restart",
    "RestartSec",
    "RestartMode",
    "RestartPreventExitStatus",
    "RemainAfterExit",
    "TimeoutStartSec",
    "TimeoutStopSec",
    "WatchdogSec",
    "OOMPolicy",
    "OOMScoreAdjust",
    "Nice",
    "WorkingDirectory",
    "Environment",
}
"""The directives that are no sandbox: how the service starts and ends, and where."""


def directives(unit: str) -> dict[str, list[str]]:
    """Return the lines of [Service] by name, in their order."""
    found = defaultdict[str, list[str]](list)
    text = (Path(__file__).parents[2] / f"systemd/{unit}.service").read_text()
    for line in text.partition("\n[Service]\n")[2].partition("\n[")[0].splitlines():
        if line and not line.startswith("#"):
            found[line.partition("=")[0]].append(line)
    return found


UNITS = {unit: directives(unit) for unit in OWN}


def prepare(place: Container | Machine) -> None:
    """Create what the probes look for."""
    others = (
        "import ctypes, os, signal, socket; ctypes.CDLL(None).shmget(0xf10b1, 4096, 0o1666); "
        'listener = socket.create_server(("127.0.0.1", 9)); os.fork() or signal.pause()'
    )
    place.sh(
        "mkdir -p /home/person /tmp/of-another /boot/firmware /usr/lib/modules/other /run/flowpi-provision "
        "/etc/wpa_supplicant /etc/NetworkManager/system-connections; "
        "touch /home/person/file /tmp/of-another/file /boot/firmware/file /boot/firmware/flowpi.yaml; "
        f"python3 -c '{others}' > /dev/null 2>&1"
    )


def probe(place: Container | Machine, unit: str) -> dict[str, Any]:
    """Return what the probe found as the service `unit`."""
    folder = f"/etc/systemd/system/{unit}.service.d"
    place.sh(
        f"systemctl stop {unit}; mkdir -p {folder}; "
        f"cat > {folder}/probe.conf <<'END'\n{DROP_IN.format(probe=PROBE)}END\n"
        f"systemctl daemon-reload; systemctl start {unit}"
    )
    found: dict[str, Any] = json.loads(place.sh("cat /root/probe.json"))
    return found


def unconfined(place: Container | Machine) -> dict[str, Any]:
    run = f"systemd-run --quiet --wait -p StandardOutput=truncate:/root/probe.json /usr/bin/python3 -B {PROBE}"
    place.sh(run)
    found: dict[str, Any] = json.loads(place.sh("cat /root/probe.json"))
    return found


def alone(place: Container | Machine, fences: dict[str, set[str]], unit: str) -> dict[str, dict[str, Any]]:
    """What the program found behind each of these directives of a unit and no other, all at the same time."""
    script = ["mkdir -p /root/alone"]
    for name, probes in fences.items():
        lines = UNITS[unit].get(name, []) + UNITS[unit].get(TOGETHER.get(name, ""), [])
        if lines:
            options = [f"StandardOutput=truncate:/root/alone/{name}", *lines]
            options += ["User=flowpi"] if name in AS_ITS_USER else []
            command = ["systemd-run", "--quiet", "--wait", *(f"--property={option}" for option in options)]
            script.append(shlex.join([*command, "/usr/bin/python3", "-B", PROBE, *sorted(probes)]) + " &")
    place.sh("\n".join([*script, "wait"]))
    found = place.sh("cd /root/alone; for name in *; do echo $name; cat $name; echo; done; rm -r /root/alone")
    lines = found.splitlines()
    return {name: json.loads(outcomes) for name, outcomes in zip(lines[::2], lines[1::2], strict=True)}


def possible(found: dict[str, Any]) -> set[str]:
    return {name for name, outcome in found.items() if outcome == "possible"}


def tried(found: dict[str, Any]) -> set[str]:
    return {name for name in found if " " in name}


def test_each_directive_is_tried_or_said_not_to_be() -> None:
    tests = "".join(file.read_text() for file in Path(__file__).parent.glob("test_*.py"))
    assert [name for name in ELSEWHERE.values() if f"def {name}(" not in tests] == []
    kinds = [FENCES, FENCES_OF_SOME, FENCES_OF_A_MACHINE, GATES, ELSEWHERE, NOT_TRIED, LIFE]
    named = [name for kind in kinds for name in kind]
    assert len(named) == len(set(named))
    assert {name for unit in UNITS.values() for name in unit} == set(named)
    for unit, lines in UNITS.items():
        # What none of them may be without.
        optional = {"User", "PrivateDevices", "PrivateNetwork", "IPAddressDeny", "PrivateIPC", "DevicePolicy"}
        assert set(FENCES) - optional <= set(lines), unit


@pytest.mark.nspawn
def test_a_service_can_do_what_is_its_own_and_nothing_else(installed: Container) -> None:
    installed.put(GUEST / "probe.py", PROBE)
    prepare(installed)
    ids = {user: installed.sh(f"id -u {user}; id -G {user}").split() for user in ("flowpi", "flowpi-asr")}
    ids["flowpi-hook"] = installed.sh("id -u flowpi-hook; id -g flowpi-hook").split()  # it is in the group flowpi, too
    ids["flowpi-provision"] = ["0", ids["flowpi"][1]]
    for unit, own in OWN.items():
        found = probe(installed, unit)
        assert possible(found) == own, unit
        # What is refused is an error to the program, not its end.
        assert found["start a program from memory"] == "EPERM"
        # Its process: no rights, and no way to get any.
        assert {found[name] for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {"0000000000000000"}
        assert found["NoNewPrivs"] == "1"
        assert found["Seccomp"] == "2"
        uid, gid = ids.get(unit, ids["flowpi"])
        assert set(found["Uid"].split()) == {uid}
        assert set(found["Gid"].split()) == {gid}
        if unit == "flowpi-asr":
            assert found["Groups"].split() in ([], [gid])
    folders = {
        "/run/flowpi": "750 flowpi:flowpi",
        "/run/flowpi-asr": "2750 flowpi-asr:flowpi",
        "/run/flowpi-asr-config": "2750 flowpi:flowpi-asr",
        "/run/flowpi-hook-config": "2750 flowpi:flowpi-hook",
        "/var/lib/flowpi": "700 flowpi:flowpi",
        "/var/lib/flowpi-hook": "700 flowpi-hook:flowpi-hook",
        "/run/flowpi-provision": "755 root:flowpi",
        "/etc/flowpi": "750 root:flowpi",
    }
    assert installed.sh(f"stat --format='%a %U:%G' {' '.join(folders)}").splitlines() == list(folders.values())


@pytest.mark.nspawn
def test_each_directive_alone_keeps_something_out(installed: Container) -> None:
    installed.put(GUEST / "probe.py", PROBE)
    prepare(installed)
    free = unconfined(installed)
    assert tried(free) - possible(free) <= ONLY_ON_A_MACHINE
    for unit, fences in {"flowpi-asr": FENCES, "flowpi-provision": FENCES_OF_SOME}.items():
        assert fences.keys() <= UNITS[unit].keys()
        for name, found in alone(installed, fences, unit).items():
            assert possible(found) & fences[name] == set(), name
            assert fences[name] <= possible(free), name


class Daemon:
    """A running daemon with a dictation in its spool, a text, and a credential."""

    CONFIG = """\
dictation: {backends: [cloud]}
backends: {cloud: {kind: flow, url: "ws+unix:///run/nobody.sock", client_key: {credential: flowpi_cloud}}}
"""

    def __init__(self, container: Container, spoken: Path) -> None:
        self._container = container
        container.put(GUEST / "intruder.py", INTRUDER)
        container.sh(
            "install -d -m 700 /etc/flowpi/credentials; echo key > /etc/flowpi/credentials/cloud; "
            "echo key > /etc/flowpi/house-key; chgrp flowpi /etc/flowpi/house-key; chmod 640 /etc/flowpi/house-key"
        )
        speak_from_file(container, spoken, self.CONFIG)
        container.sh("flowpi record start && sleep 2 && flowpi record stop")
        container.sh("cd /var/lib/flowpi/transcripts && echo '{}' > 2020-01-01.jsonl && chown flowpi: *.jsonl")
        (spool,) = container.until("ls /var/lib/flowpi/spool/*.utt").split()
        self.pid = self.now()
        heap = container.sh(f"grep --max-count=1 heap /proc/{self.pid}/maps").partition("-")[0]
        self._found = {
            "pid": int(self.pid),
            "address": int(heap, 16),
            "spool": spool,
            "transcripts": "/var/lib/flowpi/transcripts/2020-01-01.jsonl",
            "credential": "/run/credentials/flowpi.service/flowpi_cloud",
        }

    def now(self) -> str:
        return self._container.sh("systemctl show --property=MainPID --value flowpi").strip()

    @property
    def attack(self) -> list[str]:
        return ["/usr/bin/python3", "-B", INTRUDER, json.dumps(self._found)]

    def attacked_outside(self, *options: str) -> dict[str, str]:
        """Return what succeeds without a sandbox, as root or with these options of systemd-run."""
        run = ["systemd-run", "--quiet", "--wait", "--property=StandardOutput=truncate:/root/found.json", *options]
        self._container.sh(shlex.join([*run, *self.attack]))
        found: dict[str, str] = json.loads(self._container.sh("cat /root/found.json"))
        return found


@pytest.mark.nspawn
def test_a_recogniser_that_was_taken_over_gets_nothing_of_the_daemons(installed: Container, spoken: Path) -> None:
    daemon = Daemon(installed, spoken)
    folder = "/etc/systemd/system/flowpi-asr.service.d"
    lines = ["[Service]", "Type=oneshot", "ExecStart=", f"ExecStart={shlex.join(daemon.attack)}", "Restart=no"]
    lines += ["StandardOutput=truncate:/root/probe.json"]
    installed.sh(f"mkdir -p {folder}; cat > {folder}/intruder.conf <<'END'\n{chr(10).join(lines)}\nEND")
    installed.sh("systemctl daemon-reload; systemctl restart flowpi-asr")
    inside: dict[str, str] = json.loads(installed.sh("cat /root/probe.json"))
    assert possible(inside) == set()
    assert daemon.now() == daemon.pid
    assert json.loads(installed.sh("flowpi status --json"))["state"]["spooled"] == 1
    # The same attempts succeed where nothing prevents them.
    outside = daemon.attacked_outside()
    assert outside.keys() == inside.keys()
    assert outside.keys() - possible(outside) <= NOT_EVEN_ROOT
    installed.until(f"[ $(systemctl show --property=MainPID --value flowpi) != {daemon.pid} ]")


@pytest.mark.nspawn
def test_a_program_of_the_daemons_user_gets_nothing_of_its_memory(installed: Container, spoken: Path) -> None:
    daemon = Daemon(installed, spoken)
    assert possible(daemon.attacked_outside("--property=User=flowpi")) == BY_THE_SAME_USER


@pytest.mark.nspawn
def test_shared_memory_goes_with_its_service(installed: Container) -> None:
    installed.sh("systemctl stop 'flowpi*'")  # it is the user's, and goes with the last
    make = "import ctypes; ctypes.CDLL(None).shmget(0xf10b2, 4096, 0o1600)"
    run = f"systemd-run --quiet --wait --property=User=flowpi {{}} python3 -c '{make}'"
    assert "0x000f10b2" in installed.sh(f"{run.format('')}; ipcs --shmems")
    assert "0x000f10b2" not in installed.sh(f"{run.format('--property=RemoveIPC=yes')}; ipcs --shmems")


@pytest.mark.vm
def test_no_device_but_its_own(machine: Machine) -> None:
    """Run all probes on a separate kernel, with every device and working control groups."""
    machine.put((GUEST / "probe.py").read_bytes(), PROBE)
    prepare(machine)
    for unit in OWN:
        assert possible(probe(machine, unit)) == OWN[unit] - NOT_IN_A_CONTAINER | DEVICES[unit], unit
    machine.sh("chvt 1 2>/dev/null; true")
    free = unconfined(machine)
    assert tried(free) - possible(free) <= NEVER
    for name, found in alone(machine, FENCES_OF_A_MACHINE, "flowpi-asr").items():
        assert possible(found) & FENCES_OF_A_MACHINE[name] == set(), name


@pytest.mark.vm
def test_no_more_memory_than_its_own(machine: Machine) -> None:
    machine.sh("systemctl stop flowpi flowpi-asr")
    for unit, megabytes in {"flowpi": 400, "flowpi-asr": 800}.items():
        hog = f"/usr/bin/python3 -c 'bytearray(b\"x\") * ({megabytes} << 20)'"
        machine.sh(f"mkdir -p /etc/systemd/system/{unit}.service.d")
        machine.put(
            f"[Service]\nType=oneshot\nExecStart=\nExecStart={hog}\nRestart=no\nMemoryHigh=infinity\n".encode(),
            f"/etc/systemd/system/{unit}.service.d/hog.conf",
        )
    machine.sh("systemctl daemon-reload")
    for unit in ("flowpi", "flowpi-asr"):
        assert machine.run(f"systemctl start {unit}").code != 0
        assert "killed by the OOM killer" in machine.sh(f"journalctl --no-pager --unit={unit}")
