"""The Debian package for arm64 on both suites, under a real systemd, with QEMU as the processor of a Pi 3.

What depends on the processor is tried: what is compiled, what the units allow, what the recogniser hears. What does not
is in the other files of this directory, which have the same package for this machine's processor.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.prompts import sample
from tests.rig import arm, build
from tests.rig.container import Container
from tests.rig.debian import SUITES
from tests.rig.package import older, package
from tests.speech import Recording, WordErrors, librivox, total
from tests.system.recognising import MAPPED, SLOWER, mapped
from tests.system.talking import write_wav

pytestmark = pytest.mark.arm

DPKG = "DEBIAN_FRONTEND=noninteractive dpkg"
RUN = "systemctl is-active flowpi && systemctl is-active flowpi-asr"
PATIENT = "-o dictation.first_result_timeout_s=600"

DEMO = "leisure to consider how much there might be prudently"

LACKS = {("microphone", "absent"), ("panel", "no_chip")}
"""What the doctor finds in every container with the configuration of the package."""

BY_CHANCE = {("clock", "unsynchronised")}
"""A finding that depends on this machine."""

DIFFERENT_MAX = 1
"""The words that may differ between the processors, of some 75: some hang on the last bit of a sum."""

WRONG_MAX = 0.1
"""The share of words that may be wrong, in a few sentences: far more than in many, and far less than noise."""


@pytest.fixture(scope="session")
def recordings(suite: str) -> list[Recording]:
    """The share of a suite in what is heard on arm64: both have the same version of the recogniser."""
    return [*librivox(), *sample()[::8]][SUITES.index(suite) :: len(SUITES)]


@pytest.fixture
def pi(suite: str, tmp_path: Path) -> Iterator[Container]:
    """A booted Debian for arm64 without flowpi, but with its dependencies."""
    with arm.booted([arm.root(suite)], tmp_path / "pi") as container:
        yield container


def install(container: Container, file: Path) -> None:
    container.put(file, "/root/flowpi.deb")
    container.sh(f"{DPKG} --install /root/flowpi.deb")
    container.until(RUN)


def heard(container: Container, recordings: list[Recording], work: Path) -> list[str]:
    """Return what the recogniser of a container hears in recordings."""
    container.until(RUN)
    container.sh("mkdir /root/speech")
    for number, recording in enumerate(recordings):
        container.put(write_wav(recording, work / "spoken.wav"), f"/root/speech/{number:03}.wav")
    container.sh(f"cd /root/speech && flowpi {PATIENT} transcribe --to . *.wav")
    return [container.path(f"/root/speech/{number:03}.txt").read_text() for number in range(len(recordings))]


def word_errors(references: list[str], texts: list[str]) -> WordErrors:
    return total(WordErrors.between(reference, text) for reference, text in zip(references, texts, strict=True))


def test_it_comes_hears_what_a_pc_hears_and_goes(
    pi: Container, suite: str, recordings: list[Recording], tmp_path: Path
) -> None:
    """One test, because each start of the recogniser needs half a minute of computing time.

    READY is what makes a unit active: they are of `Type=notify`.
    """
    assert pi.sh("uname --machine") == "aarch64\n"
    install(pi, older(suite, arm.ARCH))
    assert pi.sh("dpkg-query --show --showformat='${Version} ${Architecture}' flowpi") == "0.0.1 arm64"
    pi.sh("echo '# mine' >> /etc/flowpi/flowpi.yaml; echo kept > /var/lib/flowpi/kept")

    install(pi, package(suite, arm.ARCH))
    version = pi.sh("dpkg-query --show --showformat='${Version}' flowpi")
    assert pi.sh("flowpi --version") == f"flowpi {version.partition('+')[0]}\n"
    found = json.loads(pi.run("flowpi doctor --json").out)
    assert {(one["part"], one["code"]) for one in found if one["level"] != "ok"} - BY_CHANCE == LACKS
    here = heard(pi, recordings, tmp_path)
    assert mapped(pi) == MAPPED
    assert SLOWER not in pi.sh("journalctl --no-pager --output=cat --unit=flowpi-asr")
    assert DEMO in pi.sh(f"systemctl stop 'flowpi*'; flowpi {PATIENT} demo")

    pi.sh(f"{DPKG} --remove flowpi")
    assert pi.run("systemctl is-active flowpi flowpi-asr").out.split() == ["inactive", "inactive"]
    assert pi.run("test -e /opt/flowpi -o -e /usr/bin/flowpi").code == 1
    assert pi.sh("tail --lines=1 /etc/flowpi/flowpi.yaml; cat /var/lib/flowpi/kept") == "# mine\nkept\n"
    pi.sh(f"{DPKG} --purge flowpi")
    assert pi.run("ls -d /etc/flowpi /var/lib/flowpi /opt/flowpi").out.count("No such file") == 3
    assert pi.run("getent passwd flowpi flowpi-asr flowpi-hook").out == ""

    with Container(build.installed(suite), tmp_path / "pc") as pc:
        there = heard(pc, recordings, tmp_path)
        assert mapped(pc) == MAPPED
    differ = [pair for pair in zip(there, here, strict=True) if pair[0] != pair[1]]
    assert word_errors(there, here).errors <= DIFFERENT_MAX, differ
    assert word_errors([recording.text for recording in recordings], here).rate <= WRONG_MAX
