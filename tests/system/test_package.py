"""The Debian package on both suites, with a real dpkg and a real systemd: installation, upgrade and removal.

`test_install.py` follows the steps by which a user installs it.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig import build
from tests.rig.container import Container
from tests.rig.package import larger_model, older, shells
from tests.speech import Recording, word_error_rate
from tests.system.talking import FINAL, speak_from_file

pytestmark = pytest.mark.nspawn

ELSEWHERE = ("dev", "proc", "root", "run", "sys", "tmp", "var/cache", "var/lib/dpkg", "var/lib/systemd", "var/log")
"""What the system writes on its own, whatever is installed; and where the package lies."""

DPKG = "DEBIAN_FRONTEND=noninteractive dpkg"


def listing(container: Container) -> dict[str, str]:
    """Return all files: kind, permissions, owner, and the content's hash or the link's target."""
    pruned = " -o ".join(f"-path ./{path}" for path in ELSEWHERE)
    script = f"cd /; find . -xdev \\( {pruned} \\) -prune -o -printf '%P|%y %m %u:%g %l\\n'"
    lines = dict(line.split("|", 1) for line in container.sh(script).splitlines() if "|" in line)
    hashes = container.sh(f"cd /; find . -xdev \\( {pruned} \\) -prune -o -type f -print0 | xargs -0 md5sum --zero")
    for line in filter(None, hashes.split("\0")):
        digest, _, path = line.partition("  ./")
        lines[path] += digest
    return lines


def test_nothing_is_left_behind(bare: Container) -> None:
    bare.sh("rm -f /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow-")
    before = listing(bare)
    bare.sh(f"{DPKG} --install /root/flowpi.deb && {DPKG} --purge flowpi")
    bare.sh("rm -f /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow-")
    after = listing(bare)
    # Groups of devices are anybody's.
    shared = {"etc/group", "etc/gshadow", "etc/.pwd.lock", "var/lib/dbus", "etc/ld.so.cache"}
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)} - shared
    assert changed == set()
    assert bare.run("getent passwd flowpi flowpi-asr flowpi-hook; getent group flowpi flowpi-asr flowpi-hook").out == ""
    assert "flowpi" not in bare.sh("systemctl list-unit-files --all; systemctl list-units --all --failed")
    assert bare.sh("find /var/lib/systemd /run /tmp /var/cache -name '*flowpi*'") == ""


def test_systemd_knows_each_line_of_the_units(installed: Container) -> None:
    assert installed.sh("systemd-analyze verify /lib/systemd/system/flowpi*.service 2>&1") == ""


def test_the_manual_is_where_its_program_looks(installed: Container) -> None:
    """What it says is in tests/debian/test_manual.py. These roots leave manual pages out, so the package is asked."""
    assert "/usr/share/man/man1/flowpi.1.gz" in installed.sh("dpkg --listfiles flowpi").split()


COMPLETED = {
    "flowpi sta": "flowpi status",
    "flowpi spool exp": "flowpi spool export",
    "flowpi spool list --js": "flowpi spool list --json",
    "flowpi record --wa": "flowpi record --wait",
    "flowpi record to": "flowpi record toggle",
    "flowpi transcribe inter": "flowpi transcribe interview.wav",
}


def test_completion_works_in_each_shell(installed: Container, suite: str) -> None:
    """What else is completed is in tests/debian/test_manual.py."""
    installed.sh("mkdir /root/shells && touch interview.wav")
    for file in shells(suite):
        installed.put(file, f"/root/shells/{file.name}")
    installed.sh(f"{DPKG} --install /root/shells/*.deb")
    installed.put(Path(build.__file__).with_name("complete.py"), "/root/complete.py")
    typed = " ".join(f"'{line}'" for line in COMPLETED)
    for shell in ("bash", "zsh"):
        assert installed.sh(f"python3 /root/complete.py {shell} {typed}").splitlines() == list(COMPLETED.values())
    for line, completed in COMPLETED.items():
        (found,) = installed.sh(f"HOME=/root fish --command \"complete --do-complete '{line}'\"").splitlines()
        assert found.partition("\t")[0] == completed.split()[-1]


def test_removal_keeps_what_is_the_owners(installed: Container, deb: Path) -> None:
    installed.put(deb, "/root/flowpi.deb")
    installed.until("systemctl is-active flowpi && systemctl is-active flowpi-asr")
    assert installed.sh("systemctl is-enabled flowpi flowpi-asr").split() == ["enabled", "enabled"]
    assert installed.sh("stat -c '%a %U:%G' /etc/flowpi/flowpi.yaml") == "640 root:flowpi\n"
    installed.sh("echo 'device_id: mine' > /etc/flowpi/flowpi.yaml; echo kept > /var/lib/flowpi/kept")
    installed.sh(f"{DPKG} --remove flowpi")
    assert installed.run("systemctl is-active flowpi flowpi-asr").code != 0
    assert installed.run("test -e /opt/flowpi -o -e /usr/bin/flowpi").code == 1
    installed.sh(f"{DPKG} --install /root/flowpi.deb")
    assert "device_id: mine" in installed.sh("flowpi config show")
    assert installed.sh("cat /var/lib/flowpi/kept") == "kept\n"
    assert installed.sh("systemctl is-active flowpi flowpi-asr").split() == ["active", "active"]
    # Also what a broken upgrade left can be purged.
    installed.sh(f"{DPKG} --unpack /root/flowpi.deb && {DPKG} --purge flowpi")
    assert installed.run("getent passwd flowpi flowpi-asr flowpi-hook; systemctl is-active flowpi").out == "inactive\n"


def test_the_larger_model_speaks_while_its_package_is_installed(installed: Container) -> None:
    installed.until("flowpi status | grep 'moonshine tiny-en;'")
    installed.put(larger_model(), "/root/model.deb")
    installed.sh(f"{DPKG} --install /root/model.deb && systemctl restart flowpi-asr")
    installed.until("flowpi status | grep 'moonshine base-en[;,]'")
    installed.sh(f"{DPKG} --purge flowpi-model-base-en && systemctl restart flowpi-asr")
    installed.until("flowpi status | grep 'moonshine tiny-en;'")
    assert installed.run("test -e /usr/share/flowpi/models").code == 1


@pytest.fixture
def earlier(usable: None, suite: str, deb: Path, tmp_path: Path) -> Iterator[Container]:
    """A system that runs the version before; the new package is its /root/flowpi.deb."""
    with Container(build.installed(suite, older), tmp_path / "container") as container:
        container.put(deb, "/root/flowpi.deb")
        container.until("systemctl is-active flowpi && systemctl is-active flowpi-asr")
        yield container


def test_an_upgrade_keeps_the_dictation_that_it_meets(earlier: Container, spoken: Path, sentence: Recording) -> None:
    assert earlier.sh("stat --format='%F %U' /run/flowpi/asr.sock") == "socket flowpi\n"
    speak_from_file(earlier, spoken)
    earlier.sh("flowpi record start && sleep 2")
    state = json.loads(earlier.sh("flowpi status --json"))["state"]
    assert state["state"] == "recording"
    earlier.sh(f"{DPKG} --install /root/flowpi.deb")
    assert earlier.sh("systemctl is-active flowpi flowpi-asr").split() == ["active", "active"]
    assert earlier.sh("dpkg-query --show --showformat='${Version}' flowpi") != "0.0.1"
    texts = [json.loads(line) for line in earlier.until(FINAL).splitlines()]
    assert [text["id"] for text in texts] == [state["utterance"]]
    assert word_error_rate(sentence.text, texts[0]["text"]) <= 0.25
    assert json.loads(earlier.sh("flowpi status --json"))["state"]["spooled"] == 0
    # The recogniser has a user of its own now, and is found where it was.
    assert earlier.sh("stat --format='%F' /run/flowpi/asr.sock") == "symbolic link\n"
    assert earlier.sh("stat --format='%U:%G %a' --dereference /run/flowpi/asr.sock") == "flowpi-asr:flowpi 660\n"


def test_an_upgrade_keeps_a_changed_configuration_and_asks_nothing(earlier: Container) -> None:
    """The upgrade does so even if the default has changed too, and without a user to answer."""
    default = "/usr/share/flowpi/flowpi.yaml"
    before = earlier.sh(f"cat {default}")
    assert before == earlier.sh("cat /etc/flowpi/flowpi.yaml")
    earlier.sh("echo 'device_id: mine' > /etc/flowpi/flowpi.yaml")
    said = earlier.sh("dpkg --install /root/flowpi.deb < /dev/null")
    assert "onfiguration file" not in said
    assert before != earlier.sh(f"cat {default}")
    assert earlier.sh("cat /etc/flowpi/flowpi.yaml") == "device_id: mine\n"
    assert earlier.sh("stat -c '%a %U:%G' /etc/flowpi/flowpi.yaml") == "640 root:flowpi\n"
    # One that the owner deleted stays so: dpkg calls this at each upgrade.
    earlier.sh("rm /etc/flowpi/flowpi.yaml; /var/lib/dpkg/info/flowpi.postinst configure 0.0.1")
    assert earlier.run("test -e /etc/flowpi/flowpi.yaml").code == 1
