"""The Debian package for arm64 on both suites, under a real systemd, with QEMU as the processor of a Pi 3.

What depends on the processor is tried: what is compiled, what the units allow, what the recogniser hears. What does not
is in the other files of this directory, which have the same package for this machine's processor.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import jiwer
import pytest

from tests.prompts import sample
from tests.rig import arm, build
from tests.rig.container import Container
from tests.rig.package import older, package
from tests.speech import Recording, librivox, word_error_rate
from tests.system.talking import write_wav

pytestmark = pytest.mark.arm

DPKG = "DEBIAN_FRONTEND=noninteractive dpkg"
RUN = "systemctl is-active flowpi && systemctl is-active flowpi-asr"
PATIENCE_S = 900.0
PATIENT = "-o dictation.first_result_timeout_s=600"

DEMO = "leisure to consider how much there might be prudently"

LACKS = {("microphone", "absent"), ("panel", "no_chip")}
"""What the doctor finds in every container with the configuration of the package."""

BY_CHANCE = {("clock", "unsynchronised")}
"""A finding that depends on this machine."""

CORPUS_SUITE = "trixie"
"""Both suites have the same version of the recogniser."""

DIFFERENT_MAX = 0.01
"""The share of words that may differ between the processors: which one it is hangs on the last bit of a sum."""


@pytest.fixture
def installed(suite: str, tmp_path: Path) -> Iterator[Container]:
    """A booted Debian for arm64 with flowpi, which starts."""
    with arm.booted(arm.installed(suite), tmp_path / "container") as container:
        yield container


@pytest.fixture
def earlier(suite: str, tmp_path: Path) -> Iterator[Container]:
    """One that runs the version before; the new package is its /root/flowpi.deb."""
    with arm.booted(arm.installed(suite, older), tmp_path / "container") as container:
        container.put(package(suite, arm.ARCH), "/root/flowpi.deb")
        container.until(RUN, PATIENCE_S)
        yield container


def test_it_is_upgraded_and_goes(earlier: Container) -> None:
    """READY is what makes a unit active: they are of `Type=notify`."""
    assert earlier.sh("dpkg-query --show --showformat='${Version} ${Architecture}' flowpi") == "0.0.1 arm64"
    earlier.sh("echo 'device_id: mine' > /etc/flowpi/flowpi.yaml; echo kept > /var/lib/flowpi/kept")
    earlier.sh(f"{DPKG} --install /root/flowpi.deb", PATIENCE_S)
    earlier.until(RUN, PATIENCE_S)
    version = earlier.sh("dpkg-query --show --showformat='${Version}' flowpi")
    assert earlier.sh("flowpi --version") == f"flowpi {version.partition('+')[0]}\n"
    assert "device_id: mine" in earlier.sh("flowpi config show")
    earlier.sh(f"{DPKG} --remove flowpi", PATIENCE_S)
    assert earlier.run("systemctl is-active flowpi flowpi-asr").out.split() == ["inactive", "inactive"]
    assert earlier.run("test -e /opt/flowpi -o -e /usr/bin/flowpi").code == 1
    assert earlier.sh("cat /etc/flowpi/flowpi.yaml /var/lib/flowpi/kept") == "device_id: mine\nkept\n"
    earlier.sh(f"{DPKG} --purge flowpi", PATIENCE_S)
    assert earlier.run("ls -d /etc/flowpi /var/lib/flowpi /opt/flowpi").out.count("No such file") == 3
    assert earlier.run("getent passwd flowpi flowpi-asr flowpi-hook").out == ""


def test_it_writes_what_is_said(installed: Container, spoken: Path, sentence: Recording) -> None:
    """One test, because the recogniser needs half a minute of computing time to start."""
    assert installed.sh("uname --machine") == "aarch64\n"
    installed.until(RUN, PATIENCE_S)
    found = json.loads(installed.run("flowpi doctor --json", PATIENCE_S).out)
    wrong = {(one["part"], one["code"]) for one in found if one["level"] != "ok"}
    assert wrong - BY_CHANCE == LACKS
    installed.put(spoken, "/root/spoken.wav")
    text = installed.sh(f"flowpi {PATIENT} transcribe /root/spoken.wav", PATIENCE_S)
    assert word_error_rate(sentence.text, text) <= 0.25
    assert DEMO in installed.sh(f"systemctl stop 'flowpi*'; flowpi {PATIENT} demo", PATIENCE_S)


def heard(container: Container, recordings: list[Recording], work: Path) -> list[str]:
    """Return what the package of a container hears in recordings, by the recogniser that it installs."""
    container.until(RUN, PATIENCE_S)
    container.sh("mkdir /root/speech")
    for number, recording in enumerate(recordings):
        container.put(write_wav(recording, work / "spoken.wav"), f"/root/speech/{number:03}.wav")
    container.sh(f"cd /root/speech && flowpi {PATIENT} transcribe --to . *.wav", 4 * PATIENCE_S)
    return [container.path(f"/root/speech/{number:03}.txt").read_text() for number in range(len(recordings))]


def test_it_hears_what_a_pc_hears(tmp_path: Path) -> None:
    recordings = [*librivox(), *sample()[::4]]
    with Container(build.installed(CORPUS_SUITE), tmp_path / "pc") as pc:
        there = heard(pc, recordings, tmp_path)
    with arm.booted(arm.installed(CORPUS_SUITE), tmp_path / "pi") as pi:
        here = heard(pi, recordings, tmp_path)
    differ = [pair for pair in zip(there, here, strict=True) if pair[0] != pair[1]]
    assert jiwer.wer(there, here) <= DIFFERENT_MAX, differ
