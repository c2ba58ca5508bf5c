"""`flowpi setup --root`, with systemd's own programs, on images made of a few folders. Needs root: it makes users."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flowpi.cli import main as cli
from tests.rig import disks
from tests.waiting import PATIENCE_S

ALWAYS = {"etc/.pwd.lock", "etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-"}
"""Files that each change of a user leaves behind."""

MODEL = "opt/flowpi/lib/python3.11/site-packages/moonshine_voice/assets/tiny-en/encoder_model.ort"
PYTHON = "opt/flowpi/pyvenv.cfg"
UNIT = "etc/systemd/system/flowpi.service"
CONFIG = "etc/flowpi/flowpi.yaml"


@pytest.fixture(autouse=True)
def _log_untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowpi.host.systemd.setup_logging", lambda verbosity, *, service: None)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An image like Raspberry Pi OS as far as it matters: the groups of the devices, and an installed flowpi."""
    if os.geteuid() != 0:
        pytest.fail("setup needs root: sudo make test")
    root = tmp_path / "image"
    for folder in ("etc/systemd/system", "etc/tmpfiles.d", "etc/udev/rules.d", "usr/local/bin"):
        (root / folder).mkdir(parents=True)
    for name in ("opt/flowpi/bin/flowpi", MODEL):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / PYTHON).write_text("home = /usr/bin\nversion = 3.11.2\n")
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/bash\n")
    (root / "etc/shadow").write_text("root:*:19000:0:99999:7:::\n")
    groups = {"root": 0, "audio": 29, "gpio": 997, "input": 996, "spi": 995}
    (root / "etc/group").write_text("".join(f"{name}:x:{number}:\n" for name, number in groups.items()))
    (root / "etc/gshadow").write_text("".join(f"{name}:*::\n" for name in groups))
    return root


def tree(root: Path) -> dict[str, tuple[int, int, int, str | bytes]]:
    """Return mode, owner and content of everything in a folder."""
    found = dict[str, tuple[int, int, int, str | bytes]]()
    for path in root.rglob("*"):
        name, about = str(path.relative_to(root)), path.lstat()
        content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else ""
        if name not in ALWAYS:
            found[name] = about.st_mode, about.st_uid, about.st_gid, content
    return found


def setup(root: Path, *options: str) -> int:
    return cli.main(["setup", "--root", str(root), *options])


def test_twice_is_once(image: Path) -> None:
    assert setup(image) == 0
    once = tree(image)
    assert {UNIT, "etc/systemd/system/multi-user.target.wants/flowpi.service"} <= set(once)
    assert once["usr/local/bin/flowpi"][3] == "/opt/flowpi/bin/flowpi"
    assert "\nflowpi:" in (image / "etc/passwd").read_text()
    flowpi = int((image / "etc/group").read_text().split("\nflowpi:x:")[1].split(":")[0])
    assert once[CONFIG][:3] == (0o100640, 0, flowpi)
    assert once["etc/flowpi"][:3] == (0o40750, 0, flowpi)
    assert setup(image) == 0
    assert tree(image) == once


def test_remove_and_purge_leave_what_was_there_before(image: Path) -> None:
    before = tree(image)
    assert setup(image) == 0
    (image / "var/lib/flowpi/transcripts").mkdir(parents=True)
    (image / "var/lib/flowpi/transcripts/2026-11-21.jsonl").write_text("{}\n")
    assert setup(image, "--remove") == 0
    kept = {"etc/flowpi", CONFIG, "var", "var/lib", "var/lib/flowpi", "var/lib/flowpi/transcripts"}
    kept |= {"var/lib/flowpi/transcripts/2026-11-21.jsonl"}
    assert set(tree(image)) == set(before) | kept
    assert setup(image, "--remove", "--purge") == 0
    after = tree(image)
    assert {name: after.get(name) for name in before} == before
    assert set(after) == set(before) | {"var", "var/lib"}


def test_what_the_owner_changed_stays(image: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (image / "etc/flowpi").mkdir()
    (image / CONFIG).write_text("device_id: desk\n")
    assert setup(image) == 0
    with (image / UNIT).open("a") as unit:
        unit.write("# mine\n")
    mine = (image / UNIT).read_bytes()
    capfd.readouterr()
    for options in ([], ["--remove"]):
        assert setup(image, *options) == 0
        assert f"keep /{UNIT}: it was changed by hand" in capfd.readouterr().out
        assert (image / UNIT).read_bytes() == mine
        assert (image / CONFIG).read_text() == "device_id: desk\n"


def test_a_power_cut_in_an_earlier_run_does_not_matter(image: Path) -> None:
    assert setup(image) == 0
    whole = tree(image)
    (image / UNIT).unlink()
    (image / "etc/systemd/system/.flowpi.service.new").write_text("# `flowpi setu")
    (image / "usr/local/bin/flowpi").unlink()
    (image / "usr/local/bin/.flowpi.new").symlink_to("nowhere")
    (image / "etc/systemd/system/multi-user.target.wants/flowpi.service").unlink()
    assert setup(image) == 0
    assert tree(image) == whole


def test_a_dry_run_shows_and_does_nothing(image: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = tree(image)
    assert setup(image, "--dry-run") == 0
    shown = capfd.readouterr().out.splitlines()
    assert tree(image) == before
    assert setup(image) == 0
    assert capfd.readouterr().out.splitlines() == shown


def test_a_link_out_of_the_image_is_not_followed(image: Path, capfd: pytest.CaptureFixture[str]) -> None:
    outside = image.parent / "outside"
    outside.mkdir()
    (image / "etc/systemd/system").rmdir()
    (image / "etc/systemd/system").symlink_to(outside)
    assert setup(image) == 73
    assert f"leads out of {image} by a link: run `flowpi setup --root /` inside the image" in capfd.readouterr().err
    assert list(outside.iterdir()) == []


def test_the_debian_package_does_it_all_itself(image: Path, capfd: pytest.CaptureFixture[str]) -> None:
    owned = image / "var/lib/dpkg/info/flowpi.list"
    owned.parent.mkdir(parents=True)
    owned.write_text("/.\n/etc\n/etc/flowpi\n/etc/flowpi/flowpi.yaml\n/opt\n/opt/flowpi/bin/flowpi\n")
    before = tree(image)
    assert setup(image) == 0
    assert capfd.readouterr().out == (
        "flowpi is here as a Debian package, which has set everything up: nothing to do\n"
    )
    assert setup(image, "--remove", "--purge") == 64
    assert capfd.readouterr().err == "flowpi: this flowpi is a Debian package: sudo apt-get purge flowpi\n"
    assert tree(image) == before
    owned.write_text("/.\n/etc\n/etc/flowpi\n/etc/flowpi/flowpi.yaml\n")  # removed, with its configuration left
    assert setup(image) == 0
    assert (image / UNIT).exists()


@pytest.mark.parametrize(
    ("python", "libraries"),
    [
        ("home = /usr/bin\nversion = 3.11.2\n", ""),
        ("home = /usr/bin\nversion = 3.12.3\n", "-/usr/lib/python3.12 "),
        ("home = /usr/local/bin\nversion_info = 3.13.1\n", "-/usr/local/lib "),
    ],
)
def test_the_services_may_use_the_python_that_the_image_has_flowpi_with(
    image: Path, python: str, libraries: str
) -> None:
    (image / PYTHON).write_text(python)
    assert setup(image) == 0
    assert f"\nExecPaths={libraries}/opt/flowpi /opt/flowpi/bin/python3\n" in (image / UNIT).read_text()


def test_an_image_without_flowpi(image: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(image / "opt")
    before = tree(image)
    assert setup(image) == 69
    assert "make a virtual environment /opt/flowpi in it and install flowpi there" in capfd.readouterr().err
    assert tree(image) == before
    assert setup(image / "nowhere") == 64


def test_purge_alone(image: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert setup(image, "--purge") == 64
    assert capfd.readouterr().err == "flowpi: --purge belongs to --remove: `flowpi setup --remove --purge`\n"


def test_who_is_not_root_is_told_so(image: Path) -> None:
    image.parent.chmod(0o755)
    before = tree(image)
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        os._exit(setup(image))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 77
    assert tree(image) == before


def test_who_may_not_see_the_configuration_is_not_told_that_it_would_be_written(
    image: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for folder in list(image.parents)[:-2]:
        folder.chmod(0o755)
    assert setup(image) == 0
    capfd.readouterr()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        os._exit(setup(image, "--dry-run"))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert "write " not in capfd.readouterr().out


def test_an_image_that_cannot_be_written(image: Path) -> None:
    found = disks.alone("tests.setup.read_only", image)
    assert found["code"] == 73
    assert found["said"].startswith("flowpi: cannot change /etc/")
    assert found["said"].endswith("(Read-only file system): mount it writable: sudo mount -o remount,rw ...\n")


def test_a_machine_without_systemd(image: Path) -> None:
    """Run setup on this machine, in a mount namespace where /run is empty."""
    script = f"mount -t tmpfs tmpfs /run && exec {sys.executable} -W ignore -m flowpi setup"
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 69
    assert done.stderr == (
        "flowpi: systemd does not run here, so no service can be started: "
        "for an image or a container that is not booted: --root /\n"
    )


def test_a_dry_run_in_a_clone_shows_what_setup_would_do(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.prefix", "/home/ada/flowpi/.venv")
    assert cli.main(["setup", "--dry-run"]) == 0
    first, *steps = capfd.readouterr().out.splitlines()
    assert first == (
        "the services are kept from seeing /home/ada/flowpi/.venv, where this flowpi is: "
        "install it with /usr/bin/python3 into /opt/flowpi; then setup would"
    )
    assert any(step.startswith("write /etc/systemd/system/flowpi.service (") for step in steps)
