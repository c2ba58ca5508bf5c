"""The findings of `flowpi doctor`, on both suites: each fault is caused on a real system with the package, and
fixed by the hint of its finding. Faults of the microphone, the pins and the clock are not tested here.
"""

import json
import re
import wave
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.rig.container import Container
from tests.system.talking import HEARS_FILE

pytestmark = pytest.mark.nspawn

CONFIG = "/etc/flowpi/flowpi.yaml"
SOCKET = "/run/flowpi/flowpi.sock"
SPOOL = "/var/lib/flowpi/spool"
SITE = "/opt/flowpi/lib/python3.*/site-packages"
INSTALL_A_NEWER_ONE = f"""\
sed -i '/^__version__/s/=.*/= "99.0"/' {SITE}/flowpi/__init__.py; rm {SITE}/flowpi/__pycache__/__init__.*
"""

DROP_INS = "/etc/systemd/system/flowpi.service.d"

RUN = "systemctl is-active flowpi && systemctl is-active flowpi-asr && [ -S /run/flowpi/asr.sock ]"

AS_A_PERSON = 'sudo() { "$@"; }\n'
"""A stand-in for sudo, which root in a container does not need."""

Fault = tuple[str, str]
"""The part and the code of a finding that is not ok."""

LACKS: set[Fault] = {("microphone", "absent"), ("panel", "no_chip")}
"""The faults of every container with the installed configuration."""

BY_CHANCE: set[Fault] = {("clock", "unsynchronised")}
"""A fault that depends on this machine, whose clock may not be synchronised."""

SILENT: set[Fault] = {("flowpi.service", "not_running"), ("socket", "no_daemon")}
DEAF: set[Fault] = {("flowpi-asr.service", "not_running"), ("backend local", "route")}


class Seen(NamedTuple):
    code: int
    hints: dict[Fault, str]
    """The doctor's findings, without the faults of every container."""


def examine(container: Container, options: str = "", who: str = "") -> Seen:
    """`who`: what makes the command another user's."""
    done = container.run(f"cd /; {who} flowpi doctor --json {options} 2>/dev/null")
    found = json.loads(done.out)
    assert done.code == max(["ok", "warning", "failure"].index(finding["level"]) for finding in found)
    wrong = [finding for finding in found if finding["level"] != "ok"]
    hints = {(finding["part"], finding["code"]): finding["hint"] for finding in wrong}
    assert len(hints) == len(wrong), "each is told once"
    assert all(hints.values())
    return Seen(done.code, {fault: hint for fault, hint in hints.items() if fault not in LACKS | BY_CHANCE})


def follow(container: Container, hint: str, who: str = "root") -> None:
    """Run the command in the hint, up to an alternative, or the commands that the hint quotes."""
    commands = re.findall(r"`(sudo [^`]+)`", hint) or [hint.split(", or ")[0]]
    container.run(AS_A_PERSON + f"USER={who}; cd /root\n" + "\n".join(commands))


@pytest.fixture
def appliance(installed: Container, deb: Path) -> Container:
    """A running appliance, fresh for each test; its user has the package in their directory."""
    installed.sh("mkdir /root/dist; useradd --create-home visitor")
    installed.put(deb, "/root/dist/flowpi_1.deb")
    installed.until(RUN)
    return installed


def configure(container: Container, text: str) -> None:
    container.path(CONFIG).write_text(text)
    container.run("systemctl restart flowpi")


def drop_in(container: Container, line: str) -> None:
    container.sh(f"mkdir -p {DROP_INS}; printf '[Service]\\n{line}\\n' > {DROP_INS}/test.conf; systemctl daemon-reload")


def test_what_a_container_lacks_and_nothing_else(appliance: Container) -> None:
    done = appliance.run("flowpi doctor --json")
    found = {(one["part"], one["code"]) for one in json.loads(done.out) if one["level"] != "ok"}
    assert found - BY_CHANCE == LACKS
    assert done.code == 2


def test_where_nothing_is_lacking_all_is_well(appliance: Container) -> None:
    with wave.open(str(appliance.path("/etc/flowpi/spoken.wav")), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(32_000))
    configure(appliance, HEARS_FILE + "button: {kind: none}\nled: {kind: none}\n")
    # The service may not read it yet, and root may.
    appliance.sh("chmod 600 /etc/flowpi/spoken.wav; systemctl restart flowpi")
    assert examine(appliance).hints.keys() == {("microphone", "broken")}
    appliance.sh("chgrp flowpi /etc/flowpi/spoken.wav; chmod 640 /etc/flowpi/spoken.wav; systemctl restart flowpi")
    found = json.loads(appliance.run("flowpi doctor --json").out)
    assert {(one["part"], one["code"]) for one in found if one["level"] != "ok"} <= BY_CHANCE
    assert examine(appliance).code == max(one["level"] == "warning" for one in found)
    appliance.sh("systemctl stop flowpi; rm /etc/flowpi/spoken.wav")
    assert examine(appliance).hints.keys() == {*SILENT, ("microphone", "broken")}


WITH_A_KEY = 'backends: {cloud: {kind: flow, url: "wss://cloud.example/ws", api_key: a-key-of-this-house}}'


@pytest.mark.parametrize(
    ("fault", "parts"),
    [
        ("systemctl stop flowpi", SILENT),
        ("systemctl mask --now flowpi-asr", DEAF),
        ("touch $(systemctl show -P FragmentPath flowpi)", {("flowpi.service", "outdated")}),
        ("systemctl disable flowpi", {("flowpi.service", "not_enabled")}),
        (f"chmod 666 {SOCKET}", {("socket", "open_to_all")}),
        (f"chgrp root {SOCKET}", {("socket", "wrong_group")}),
        ("groupdel gpio", {("permissions", "no_group")}),
        ("systemctl stop flowpi flowpi-asr; userdel flowpi", {*SILENT, *DEAF, ("permissions", "no_user")}),
        (f"chown -R root:root {SPOOL}", {("disk", "forbidden")}),
        (INSTALL_A_NEWER_ONE, {("socket", "outdated")}),
        (f"echo '{WITH_A_KEY}' > {CONFIG}; chmod 644 {CONFIG}", {("permissions", "exposed")}),
    ],
)
def test_a_fault_is_gone_when_its_hint_is_followed(appliance: Container, fault: str, parts: set[Fault]) -> None:
    appliance.sh(fault)
    seen = examine(appliance)
    assert seen.hints.keys() == parts
    # What cannot work as long as the cause is there is mended with it.
    for hint in [seen.hints[part] for part in sorted(parts, key=[*SILENT, *DEAF].__contains__)]:
        if " " in hint and not hint.startswith(("is flowpi-asr", "start it with")):
            follow(appliance, hint)
    appliance.until(RUN)
    assert examine(appliance).hints == {}


def test_it_was_killed(appliance: Container) -> None:
    kill = "kill -KILL $(systemctl show -P MainPID flowpi)"
    appliance.sh(f"{kill}; until [ $(systemctl show -P NRestarts flowpi) = 1 ]; do :; done")
    appliance.until(RUN)
    seen = examine(appliance)
    assert seen.hints.keys() == {("flowpi.service", "restarts")}
    follow(appliance, seen.hints["flowpi.service", "restarts"])
    assert examine(appliance).hints == {}
    drop_in(appliance, "RestartSec=1h")
    appliance.sh(f"{kill}; until [ $(systemctl show -P SubState flowpi) = auto-restart ]; do :; done")
    seen = examine(appliance)
    assert seen.hints.keys() == {("flowpi.service", "failed"), ("socket", "no_daemon")}
    assert "journalctl -xu flowpi" in seen.hints["flowpi.service", "failed"]


def test_a_key_that_is_not_known(appliance: Container) -> None:
    appliance.run(f"echo 'foo: 1' >> {CONFIG}; systemctl restart flowpi")
    seen = examine(appliance)
    assert seen.hints.keys() == {
        ("configuration", "configuration"),
        ("flowpi.service", "failed"),
        ("socket", "no_daemon"),
    }
    assert "flowpi config check" in seen.hints["flowpi.service", "failed"]
    assert "foo" in appliance.run("flowpi config check").out
    appliance.sh(f"sed -i '/^foo/d' {CONFIG}")
    follow(appliance, seen.hints["flowpi.service", "failed"])
    appliance.until(RUN)
    assert examine(appliance).hints == {}


def test_the_disk(appliance: Container) -> None:
    appliance.sh("systemctl stop flowpi; mount -t tmpfs -o size=10m tmpfs /var/lib/flowpi; systemctl start flowpi")
    for options, code in (
        ("size=10m", "full"),
        ("size=64m", "low"),
        ("size=1g,nr_inodes=50", "inodes"),
        ("nr_inodes=0,ro", "read_only"),
    ):
        appliance.sh(f"mount -o remount,{options} /var/lib/flowpi")
        seen = examine(appliance)
        assert seen.hints.keys() == {("disk", code)}
    follow(appliance, seen.hints["disk", "read_only"])
    appliance.until("touch /var/lib/flowpi/spool/probe && rm /var/lib/flowpi/spool/probe")
    appliance.sh(f"mkdir {SPOOL}/quarantine; touch {SPOOL}/quarantine/rubbish.utt; systemctl stop flowpi")
    assert examine(appliance).hints.keys() == {*SILENT, ("disk", "quarantine")}
    appliance.sh(f"rm {SPOOL}/quarantine/*; touch {SPOOL}/01JAAAAAAAAAAAAAAAAAAAAAAA.utt")
    assert examine(appliance).hints.keys() == {*SILENT, ("disk", "waiting")}


def test_somebody_who_is_not_in_the_group(appliance: Container) -> None:
    login = "runuser -u visitor --"
    seen = examine(appliance, who=login)
    assert seen.hints.keys() == {("configuration", "unreadable"), ("socket", "forbidden")}
    follow(appliance, seen.hints["socket", "forbidden"], who="visitor")
    early = examine(appliance, who="setpriv --reuid visitor --regid visitor --clear-groups")
    assert "log out and in again" in early.hints["socket", "forbidden"]
    assert "usermod" not in early.hints["socket", "forbidden"]
    assert examine(appliance, who=login).hints == {}


def test_the_groups_and_devices_of_the_service(appliance: Container) -> None:
    drop_in(appliance, "SupplementaryGroups=")
    no_panel = "-o button.kind=none -o led.kind=none"
    seen = examine(appliance, no_panel)
    assert seen.hints.keys() == {("permissions", "not_member")}
    follow(appliance, seen.hints["permissions", "not_member"])
    assert examine(appliance, no_panel).hints == {}
    appliance.sh(f"gpasswd --delete flowpi audio; rm {DROP_INS}/test.conf; systemctl daemon-reload")
    appliance.sh("touch /root/pedal; chgrp input /root/pedal")
    pedal = "-o button.kind=evdev -o button.device=/root/pedal -o button.key=KEY_F13"
    seen = examine(appliance, pedal)
    assert seen.hints.keys() == {("permissions", "not_member")}
    follow(appliance, seen.hints["permissions", "not_member"])
    assert examine(appliance, pedal).hints == {}


def test_another_group_on_the_socket(appliance: Container) -> None:
    configure(appliance, "publish: {socket: {group: scribes}}\n")
    seen = examine(appliance)
    assert seen.hints.keys() == {("socket", "wrong_group")}
    assert "groupadd" in seen.hints["socket", "wrong_group"]
    follow(appliance, seen.hints["socket", "wrong_group"])
    may_use = f"setpriv --reuid visitor --regid scribes --clear-groups test -w {SOCKET}"
    assert appliance.run(may_use).code != 0
    seen = examine(appliance)
    assert seen.hints.keys() == {("socket", "wrong_group")}
    follow(appliance, seen.hints["socket", "wrong_group"])
    appliance.until(RUN)
    assert examine(appliance).hints == {}
    appliance.sh(may_use)


BACKENDS = """\
dictation: {backends: [unnamed, away, closed, keyless, local]}
backends:
  unnamed: {kind: flow, url: "wss://nowhere.example/ws"}
  away: {kind: flow, url: "ws://192.0.2.1/ws"}
  closed: {kind: flow, url: "ws://127.0.0.1:1/ws"}
  keyless: {kind: flow, url: "ws+unix:///run/flowpi/asr.sock", api_key: {file: /root/no-such-key}}
"""


def test_backends(appliance: Container) -> None:
    configure(appliance, BACKENDS)
    seen = examine(appliance)
    wrong = {("unnamed", "dns"), ("away", "route"), ("closed", "route"), ("keyless", "key")}
    assert seen.hints.keys() == {(f"backend {name}", code) for name, code in wrong}
    assert "backends.closed.url" in seen.hints["backend closed", "route"]


KEYED = """\
dictation: {backends: [local]}
backends: {local: {kind: flow, url: "ws+unix:///run/flowpi/asr.sock", client_key: {credential: house-key}}}
"""


def test_a_key_that_systemd_hands_over(appliance: Container) -> None:
    configure(appliance, KEYED)
    seen = examine(appliance)
    assert "add LoadCredential=house-key:PATH to the unit" in seen.hints["backend local", "key"]
    drop_in(appliance, "LoadCredential=house-key:/etc/flowpi/house-key")
    appliance.sh("echo a-key-of-this-house > /etc/flowpi/house-key; systemctl restart flowpi")
    assert examine(appliance).hints == {}
    # Of what only the service can read, nobody else says that it is not there.
    appliance.sh("usermod -aG flowpi visitor")
    assert examine(appliance, who="runuser -u visitor --").hints == {}
    appliance.sh("systemctl stop flowpi")
    assert examine(appliance).hints.keys() == SILENT


def test_a_file_on_the_boot_partition_that_was_refused(appliance: Container) -> None:
    boot = appliance.path("/boot/firmware")
    boot.mkdir(exist_ok=True)
    (boot / "flowpi.yaml").write_text("foo: 1\n...\n")
    appliance.run("systemctl restart flowpi-provision; systemctl restart flowpi")
    seen = examine(appliance)
    assert seen.hints.keys() == {("configuration", "boot_file")}
    (boot / "flowpi.yaml").write_text("device_id: mended\n...\n")
    follow(appliance, seen.hints["configuration", "boot_file"])
    appliance.until(RUN)
    assert examine(appliance).hints == {}
    assert "device_id: mended" in appliance.sh("flowpi config show")


def test_interrupted_it_ends_at_once(appliance: Container) -> None:
    """The doctor ends at once also while a name lookup hangs."""
    appliance.path("/root/mute.py").write_text(MUTE)
    done = appliance.sh("python3 /root/mute.py")
    waited_s, code, said = json.loads(done)
    assert (code, said) == (130, "")
    assert waited_s < 2


MUTE = """\
import json, signal, socket, subprocess, time

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
with open("/etc/resolv.conf", "w") as file:
    file.write("nameserver 127.0.0.1\\n")
command = ["flowpi", "doctor", "--json", "-o", "dictation.backends=[a]"]
command += ["-o", "backends.a={kind: flow, url: 'wss://nowhere.example/ws'}"]
doctor = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
server.recv(512)
began = time.monotonic()
doctor.send_signal(signal.SIGINT)
said, _ = doctor.communicate()
open("/etc/resolv.conf", "w").close()
print(json.dumps([time.monotonic() - began, doctor.returncode, said]))
"""


def test_what_is_missing_comes_back_with_the_package(appliance: Container) -> None:
    appliance.sh(
        f"rm {SITE}/moonshine_voice/assets/tiny-en/encoder_model.ort; systemctl restart flowpi-asr || true; "
        "rm $(systemctl show -P FragmentPath flowpi); systemctl stop flowpi; systemctl daemon-reload"
    )
    seen = examine(appliance)
    assert seen.hints.keys() == {
        ("model", "no_model"),
        ("flowpi-asr.service", "failed"),
        ("backend local", "route"),
        ("flowpi.service", "not_installed"),
        ("socket", "no_daemon"),
    }
    assert seen.hints["model", "no_model"] == seen.hints["flowpi.service", "not_installed"]
    follow(appliance, seen.hints["model", "no_model"])
    appliance.until(RUN)
    assert examine(appliance).hints == {}
