"""The units as systemd itself sees them. `systemd-analyze` is needed: a test that is skipped here proves nothing."""

import fnmatch
import shutil
import subprocess
from pathlib import Path

import pytest

from flowpi.cli.light import NAMES as NAMES_OF_PATTERNS
from flowpi.config.boards import BOARDS
from flowpi.host import boot_config_status
from flowpi.host.paths import RECOGNISERS_RUNTIME, SYSTEM_HOOK_STATE, SYSTEM_KEYBOARD_STATE
from flowpi.provision import apply, credentials, wifi_files
from flowpi.publish.socket import RECOGNISER
from flowpi.server.workers import NICENESS
from flowpi.setup.files import without_newer
from flowpi.setup.machine import systemd_version
from tests.provision.test_refused import MEANT
from tests.waiting import PATIENCE_S

UNITS = Path(__file__).parents[2] / "systemd"
SERVICES = ["flowpi.service", "flowpi-asr.service", "flowpi-signal.service"]
PROVISION = "flowpi-provision.service"
HOOK = "flowpi-hook.service"
KEYBOARD, GADGET = "flowpi-keyboard.service", "flowpi-gadget.service"
NAMES = [*SERVICES, PROVISION, HOOK, KEYBOARD, GADGET]


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        pytest.fail("systemd-analyze is missing: sudo apt-get install systemd")
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units with a program that exists here, side by side because one wants the other."""
    program = tmp_path / "flowpi"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for name in NAMES:
        text = without_newer((UNITS / name).read_bytes(), systemd_version("")).decode()
        assert "ExecStart=/opt/flowpi/bin/flowpi " in text
        (tmp_path / name).write_text(text.replace("/opt/flowpi/bin/flowpi", str(program)))
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_systemd_has_nothing_to_say(installed: Path, name: str) -> None:
    found = analyze("verify", installed / name)
    # An unknown key is only a warning, with exit code 0.
    assert (found.returncode, found.stdout + found.stderr) == (0, "")


@pytest.mark.parametrize("name", NAMES)
def test_exposure_is_low(name: str) -> None:
    found = analyze("security", "--offline=true", "--threshold=15", UNITS / name)
    assert found.returncode == 0, found.stdout.splitlines()[-1]


def settings(name: str) -> list[str]:
    return [line for line in (UNITS / name).read_text().splitlines() if line and not line.startswith("#")]


def test_the_signal_is_of_the_daemons_user_and_has_no_directory() -> None:
    assert {"User=flowpi", "Group=flowpi"} <= set(settings("flowpi.service")) & set(settings("flowpi-signal.service"))
    assert "RuntimeDirectoryPreserve=yes" in settings("flowpi.service")
    assert not [line for line in settings("flowpi-signal.service") if "Directory" in line]


def test_the_recogniser_shares_no_user_no_group_and_no_directory() -> None:
    lines = settings("flowpi-asr.service")
    assert {"User=flowpi-asr", "Group=flowpi-asr", "ReadWritePaths=/run/flowpi-asr"} <= set(lines)
    assert not [line for line in lines if line.startswith("RuntimeDirectory")]
    made = (UNITS / "flowpi.tmpfiles").read_text().splitlines()
    assert {"d /run/flowpi-asr 2750 flowpi-asr flowpi -", "d /run/flowpi-asr-config 2750 flowpi flowpi-asr -"} <= set(
        made
    )
    assert (Path("/run/flowpi-asr"), "flowpi-asr") == (RECOGNISERS_RUNTIME, RECOGNISER)


def test_the_recogniser_gets_its_part_of_the_configuration_from_the_daemons_user() -> None:
    (before,) = (line for line in settings("flowpi-asr.service") if line.startswith("ExecStartPre="))
    assert before.startswith("ExecStartPre=+/usr/bin/setpriv --reuid=flowpi --regid=flowpi ")
    assert before.endswith(" serve --hand-over /run/flowpi-asr-config")
    assert "Environment=FLOWPI_HANDED_OVER=/run/flowpi-asr-config" in settings("flowpi-asr.service")


@pytest.mark.parametrize("name", NAMES)
def test_no_unit_reaches_into_other_processes_or_uses_swap_without_a_bound(name: str) -> None:
    refused = "SystemCallFilter=~@debug @keyring kcmp process_madvise process_vm_readv process_vm_writev userfaultfd"
    assert refused in settings(name)
    # glibc makes one heap for each thread, and keeps what each once had.
    if name in ("flowpi.service", "flowpi-asr.service", HOOK, KEYBOARD):
        assert {"MemorySwapMax=0", "Environment=MALLOC_ARENA_MAX=2"} <= set(settings(name))


def test_with_the_niceness_of_the_recogniser_its_lanes_still_differ() -> None:
    (own,) = (int(line.removeprefix("Nice=")) for line in settings("flowpi-asr.service") if line.startswith("Nice="))
    assert own + max(NICENESS.values()) <= 19


@pytest.mark.parametrize("name", ["flowpi.service", "flowpi-signal.service"])
def test_the_leds_of_each_board_may_be_used(name: str) -> None:
    kinds = {board.get("led", {}).get("kind") for board in BOARDS.values()}
    assert kinds == {"gpio", "apa102"}
    lines = settings(name)
    assert {"DeviceAllow=char-gpiochip rw", "DeviceAllow=char-spi rw"} <= set(lines)
    (groups,) = (line for line in lines if line.startswith("SupplementaryGroups="))
    assert {"gpio", "spi"} <= set(groups.partition("=")[2].split())


def test_a_daemon_that_fails_is_told_by_the_led_until_it_starts_again() -> None:
    assert "OnFailure=flowpi-signal.service" in settings("flowpi.service")
    lines = settings("flowpi-signal.service")
    assert {"Conflicts=flowpi.service", "Before=flowpi.service", "PrivateNetwork=yes"} <= set(lines)
    assert "ExecStart=/opt/flowpi/bin/flowpi light configuration" in lines
    assert "configuration" in NAMES_OF_PATTERNS
    assert not [line for line in lines if line.startswith("DeviceAllow=char-alsa")]


def test_the_recogniser_has_no_microphone_and_no_network() -> None:
    lines = settings("flowpi-asr.service")
    assert {"PrivateDevices=yes", "PrivateNetwork=yes", "RestrictAddressFamilies=AF_UNIX"} <= set(lines)
    assert not [line for line in lines if line.startswith(("DeviceAllow=", "SupplementaryGroups="))]


@pytest.mark.parametrize("name", NAMES)
def test_dictation_does_not_wait_for_the_network(name: str) -> None:
    orders = [line for line in settings(name) if line.startswith(("After=", "Wants=", "Requires="))]
    assert not [line for line in orders if "network" in line]


def test_each_service_is_passed_its_own_secrets_and_starts_without_any() -> None:
    for name, directory in zip(SERVICES[:2], (credentials.DAEMONS, credentials.RECOGNISERS), strict=True):
        # A directory that is not there is an error for LoadCredential= alone.
        expected = [f"LoadCredential=flowpi:/etc/flowpi/{directory}", "SetCredential=flowpi:none"]
        assert [line for line in settings(name) if "Credential" in line] == expected
        assert credentials.PREFIX == "flowpi_"


def test_the_configuration_is_taken_over_before_both_services_start_and_without_a_network() -> None:
    lines = settings(PROVISION)
    (before,) = (line.partition("=")[2].split() for line in lines if line.startswith("Before="))
    assert {"flowpi.service", "flowpi-asr.service"} <= set(before)
    assert {"Type=oneshot", "RequiresMountsFor=/boot/firmware"} <= set(lines)
    assert "network" not in "\n".join(lines)
    assert {"PrivateNetwork=yes", "RestrictAddressFamilies=none", "CapabilityBoundingSet="} <= set(lines)


def test_the_wifi_is_there_before_what_joins_it_starts() -> None:
    (before,) = (line.partition("=")[2].split() for line in settings(PROVISION) if line.startswith("Before="))
    unit = Path(wifi_files.WPA_SUPPLICANT.path).stem.replace("-", "@")
    assert {f"{unit}.service", Path(wifi_files.ENABLED).name} <= set(before)


def test_it_runs_where_there_is_something_to_do_and_only_there() -> None:
    patterns = [line.partition("=|")[2] for line in settings(PROVISION) if line.startswith("Condition")]

    def runs(path: str) -> bool:
        return any(fnmatch.fnmatch(path, pattern) for pattern in patterns)

    for boot in apply.BOOT:
        assert all(runs(f"{boot}/{name}") for name in (*apply.NAMES, apply.ERROR, *MEANT))
        assert not runs(f"{boot}/{apply.TAKEN}")


def test_it_may_write_to_its_places_and_nowhere_else() -> None:
    lines = settings(PROVISION)
    names = ("ReadWritePaths", "StateDirectory", "RuntimeDirectory", "ConfigurationDirectory")
    wifi = [f"-/etc/{Path(each.path).parent}" for each in (wifi_files.WPA_SUPPLICANT, wifi_files.NETWORK_MANAGER)]
    assert [line for line in lines if line.partition("=")[0] in names] == [
        "ConfigurationDirectory=flowpi",
        f"RuntimeDirectory={boot_config_status.RUN.name}",
        f"ReadWritePaths=-/etc/flowpi -/boot/firmware -/boot {' '.join(wifi)}",
    ]
    assert "ProtectSystem=strict" in lines


def test_the_daemon_never_sees_the_boot_partition() -> None:
    hidden = [
        line.split("=")[1].split() for line in settings("flowpi.service") if line.startswith("InaccessiblePaths=")
    ]
    assert ["-/boot/firmware" in paths for paths in hidden] == [True]


def test_the_hook_has_the_socket_of_the_daemon_and_nothing_else_of_it() -> None:
    lines = settings(HOOK)
    assert {"User=flowpi-hook", "Group=flowpi-hook", "SupplementaryGroups=flowpi"} <= set(lines)
    assert "m flowpi-hook flowpi" in (UNITS / "flowpi.sysusers").read_text().splitlines()
    (hidden,) = (line.partition("=")[2].split() for line in lines if line.startswith("InaccessiblePaths="))
    assert {"-/etc/flowpi", "-/var/lib/flowpi", "-/run/flowpi-asr", "-/run/flowpi-asr-config", "-/run/dbus"} <= {
        *hidden
    }
    assert not [line for line in lines if line.startswith(("DeviceAllow=", "LoadCredential=", "BindPaths="))]
    assert {"PrivateDevices=yes", "PrivateNetwork=yes", "RestrictAddressFamilies=AF_UNIX"} <= set(lines)
    assert Path("/var/lib", "flowpi-hook") == SYSTEM_HOOK_STATE
    assert "StateDirectory=flowpi-hook" in lines


def test_the_hook_is_turned_on_by_the_configuration_of_which_it_gets_its_part() -> None:
    lines = settings(HOOK)
    (before,) = (line for line in lines if line.startswith("ExecCondition="))
    assert before.startswith("ExecCondition=+/usr/bin/setpriv --reuid=flowpi --regid=flowpi ")
    assert before.endswith(" hook --hand-over /run/flowpi-hook-config")
    assert "Environment=FLOWPI_HANDED_OVER=/run/flowpi-hook-config" in lines
    (after,) = (line for line in lines if line.startswith("After="))
    assert PROVISION in after.split()
    assert "d /run/flowpi-hook-config 2750 flowpi flowpi-hook -" in (UNITS / "flowpi.tmpfiles").read_text().splitlines()


def test_systemd_leaves_it_to_the_hook_to_end_its_command() -> None:
    assert {"KillMode=mixed", "OOMPolicy=continue"} <= set(settings(HOOK))


def test_only_the_keyboard_may_open_what_types() -> None:
    allowed = {name: [line for line in settings(name) if line.startswith("DeviceAllow=")] for name in NAMES}
    assert allowed.pop(KEYBOARD) == ["DeviceAllow=/dev/uinput rw", "DeviceAllow=char-hidg rw"]
    assert "DevicePolicy=closed" in settings(KEYBOARD)
    assert not [line for lines in allowed.values() for line in lines if "uinput" in line or "hid" in line]
    rules = (UNITS / "flowpi.rules").read_text().splitlines()
    (uinput,) = (line for line in rules if 'KERNEL=="uinput"' in line)
    (hidg,) = (line for line in rules if 'SUBSYSTEM=="hidg"' in line)
    for rule in (uinput, hidg):
        assert {'GROUP="flowpi-keyboard"', 'MODE="0660"'} <= set(rule.split(", "))
    assert 'OPTIONS+="static_node=uinput"' in uinput  # the module is loaded when the node is opened


def test_the_keyboard_has_the_socket_of_the_daemon_and_nothing_else_of_it() -> None:
    lines = settings(KEYBOARD)
    assert {"User=flowpi-keyboard", "Group=flowpi-keyboard", "SupplementaryGroups=flowpi"} <= set(lines)
    assert "m flowpi-keyboard flowpi" in (UNITS / "flowpi.sysusers").read_text().splitlines()
    (hidden,) = (line.partition("=")[2].split() for line in lines if line.startswith("InaccessiblePaths="))
    assert {"-/etc/flowpi", "-/var/lib/flowpi", "-/run/flowpi-asr", "-/run/flowpi-asr-config", "-/run/dbus"} <= {
        *hidden
    }
    assert {"PrivateNetwork=yes", "RestrictAddressFamilies=AF_UNIX"} <= set(lines)
    assert Path("/var/lib", "flowpi-keyboard") == SYSTEM_KEYBOARD_STATE
    made = (UNITS / "flowpi.tmpfiles").read_text().splitlines()
    assert "d /run/flowpi-keyboard-config 2750 flowpi flowpi-keyboard -" in made


@pytest.mark.parametrize("name", [KEYBOARD, GADGET])
def test_without_a_keyboard_in_the_configuration_its_units_are_skipped(name: str) -> None:
    (before,) = (line for line in settings(name) if line.startswith("ExecCondition="))
    assert before.startswith("ExecCondition=+/usr/bin/setpriv --reuid=flowpi --regid=flowpi ")


def test_the_keyboard_starts_when_the_gadget_is_there_and_again_with_it() -> None:
    """DeviceAllow=char-hidg is resolved at its start, and the number of the devices changes with the gadget."""
    lines = settings(KEYBOARD)
    assert {f"Wants={GADGET}", f"PartOf={GADGET}"} <= set(lines)
    assert any(GADGET in line.split("=")[1].split() for line in lines if line.startswith("After="))
    # With it, configfs would be read-only.
    assert not [line for line in settings(GADGET) if line.startswith("ProtectKernelTunables")]
    assert {"Type=oneshot", "RemainAfterExit=yes"} <= set(settings(GADGET))


def test_a_controller_that_appears_late_becomes_a_keyboard_that_types() -> None:
    (udc,) = (one for one in (UNITS / "flowpi.rules").read_text().splitlines() if one.startswith('SUBSYSTEM=="udc"'))
    assert {'ACTION=="add"', 'TAG+="systemd"', f'ENV{{SYSTEMD_WANTS}}+="{GADGET}"'} <= set(udc.split(", "))
    assert f"ExecStartPost=-+/bin/systemctl --no-block try-restart {KEYBOARD}" in settings(GADGET)


def test_the_module_of_the_node_is_loaded_without_the_right_to_open_it() -> None:
    assert "ExecStartPre=-+/sbin/modprobe --quiet uinput" in settings(KEYBOARD)


def test_a_key_of_a_keyboard_that_is_killed_goes_up_at_once() -> None:
    (after,) = (line for line in settings(KEYBOARD) if line.startswith("ExecStopPost="))
    assert "of=/dev/hidg0 bs=8 count=1 oflag=nonblock" in after


@pytest.mark.parametrize("name", NAMES)
def test_no_unit_may_execute_a_program_but_its_own_python(name: str) -> None:
    allowed = [line.partition("=")[2] for line in settings(name) if line.startswith("ExecPaths=")]
    assert allowed == [
        "/opt/flowpi /opt/flowpi/bin/python3",
        "-/usr/lib/python3.11 -/usr/lib/python3.13 -/usr/lib/aarch64-linux-gnu -/usr/lib/x86_64-linux-gnu",
    ]
    lines = (line.partition("=") for line in settings(name))
    forbidden = [path for key, _, paths in lines if key == "NoExecPaths" for path in paths.split()]
    assert {"/", "/run", "/tmp", "/var/tmp"} <= set(forbidden)
    made = [line.split("=")[1] for line in settings(name) if line.startswith("StateDirectory=")]
    assert {f"/var/lib/{folder}" for folder in made} <= set(forbidden)
