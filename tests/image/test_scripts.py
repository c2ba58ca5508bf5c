"""The scripts that make the image of a card, one by one. The whole image boots in tests/system/test_card.py."""

import configparser
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

IMAGE = Path(__file__).parents[2] / "image"
TREE = IMAGE / "tree"


def run(*command: str | Path, **environment: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, umask=0o077, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def program(directory: Path, name: str, script: str) -> None:
    """Write a shell script that is found as a program of this name."""
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(f"#!/bin/bash\n{script}\n")
    (directory / name).chmod(0o755)


def test_files_of_a_clone_for_one_user_are_for_all_to_read_on_the_card(tmp_path: Path) -> None:
    clone, root = tmp_path / "clone", tmp_path / "root"
    shutil.copytree(IMAGE, clone)
    for path in clone.rglob("*"):
        path.chmod(path.stat().st_mode & 0o700)
    (root / "etc/systemd").mkdir(parents=True)
    (root / "etc").chmod(0o751)
    run(clone / "put-tree", root)
    for original in TREE.rglob("*"):
        copied = (root / original.relative_to(TREE)).stat()
        runs = original.is_dir() or os.access(original, os.X_OK)
        if original != TREE / "etc":
            assert stat.S_IMODE(copied.st_mode) == (0o755 if runs else 0o644), original
        assert copied.st_uid == os.geteuid()
    assert stat.S_IMODE((root / "etc").stat().st_mode) == 0o751, "a directory that is there stays as it is"


def test_the_name_of_the_card_is_heard_on_the_network_and_nothing_else() -> None:
    """resolved needs a yes for all links besides that of each link, and Debian's own file says no."""
    (file,) = (TREE / "etc/systemd/resolved.conf.d").iterdir()
    assert file.name > "00-disable-mdns.conf"
    settings = configparser.ConfigParser()
    settings.read(file)
    assert dict(settings["Resolve"]) == {"multicastdns": "yes", "llmnr": "no"}


def test_tools_are_unpacked_anew_after_a_cut(tmp_path: Path) -> None:
    """mmdebstrap refuses a directory with something in it."""
    bin_, tools = tmp_path / "bin", tmp_path / "tools"
    program(bin_, "apt-get", "echo http://mirror/debian trixie")
    program(
        bin_,
        "mmdebstrap",
        'cat; target=${@: -2:1}; [ ! -e "$target" ] || exit 1; mkdir "$target"; touch "$target/whole"',
    )
    left = tmp_path / "tools.new" / "usr"
    left.mkdir(parents=True)
    run(IMAGE / "make-tools", tools, "dash", PATH=f"{bin_}:{os.environ['PATH']}")
    assert [path.name for path in tools.iterdir()] == ["whole"]


@pytest.mark.parametrize(("suite", "hooks"), [("bookworm", 1), ("trixie", 0)])
def test_the_helpers_find_their_loader_in_bookworm_too(tmp_path: Path, suite: str, hooks: int) -> None:
    bin_, clone = tmp_path / "bin", tmp_path / "clone"
    shutil.copytree(IMAGE, clone)
    program(clone, "emulate", "exit 0")
    program(bin_, "apt-get", "echo http://mirror/debian bookworm")
    program(bin_, "mmdebstrap", r'cat > /dev/null; printf "%s\n" "$@"')
    options = run(clone / "make-root", suite, tmp_path / "root.tar", "dash", PATH=f"{bin_}:{os.environ['PATH']}")
    assert options.count("\n--setup-hook=/usr/share/mmdebstrap/hooks/merged-usr/") == hooks


EXAMPLE = """\
## Debian distribution repository
Types: deb
URIs: http://debian.example/debian
Suites: trixie trixie-updates
Components: main contrib non-free non-free-firmware
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

## Debian security updates.
Types: deb
URIs: http://debian.example/debian-security
Suites: trixie-security
Components: main contrib non-free non-free-firmware
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""
"""What apt's package has in its documentation."""


def card_sources(root: Path, mirror: str) -> list[str]:
    """Return the lines that say where the card's apt reads what."""
    example, old = root / "usr/share/doc/apt/examples/debian.sources", root / "etc/apt/sources.list"
    for path in (example, old, root / "etc/apt/sources.list.d/debian.sources"):
        path.parent.mkdir(parents=True, exist_ok=True)
    example.write_text(EXAMPLE)
    old.write_text("deb http://ada:can%40ary@cache.house:3142/debian trixie main")
    run(IMAGE / "card-sources", root, CARD_MIRROR=mirror)
    files = [path for path in (root / "etc/apt").rglob("*") if path.is_file()]
    return re.findall(r"(?m)^(?:deb|URIs:|Suites:|Components:) .*$", "\n".join(path.read_text() for path in files))


def sources(mirror: str) -> list[str]:
    wanted = {"debian": "trixie trixie-updates", "debian-security": "trixie-security"}
    lines = ["URIs: {}/{}", "Suites: {2}", "Components: main non-free-firmware"]
    return [line.format(mirror, path, suites) for path, suites in wanted.items() for line in lines]


def test_the_card_has_the_mirror_of_debian_and_not_that_of_the_computer_that_makes_it(tmp_path: Path) -> None:
    assert card_sources(tmp_path, "") == sources("http://debian.example")


def test_the_card_has_the_mirror_that_it_is_given(tmp_path: Path) -> None:
    assert card_sources(tmp_path, "https://mirror.example:1/") == sources("https://mirror.example:1")


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.encode(),
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.replace("\n", "\r\n").encode("utf-16"),
        lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
    ],
    ids=["plain", "byte order mark", "PowerShell", "UTF-16, big end first"],
)
def test_each_key_is_a_line_whatever_wrote_the_file(tmp_path: Path, encode: Callable[[str], bytes]) -> None:
    keys = ["ssh-ed25519 AAAAC3Nz/+a= ada", "ssh-rsa AAAAB3Nz== bob", "ssh-ed25519 AAAAC3Nz/+b= eve"]
    (tmp_path / "authorized_keys").write_bytes(encode("\n".join(keys[:2])))
    (tmp_path / "authorized_keys.txt").write_bytes(encode(keys[2] + "\n"))
    printed = run(TREE / "usr/lib/flowpi-image/authorized-keys", tmp_path)
    assert [line for line in printed.splitlines() if line] == keys


SECTOR = 512

NEW_KERNEL = """\
boot=$6 new=$7
echo "# of a hook" > "$boot/$new/config.txt"
echo kernel=vmlinuz-new >> "$boot/$new/config.txt"
"""
"""In the place of unshare. tests/image/test_boot_partition.py has the real one."""


def update_boot(directory: Path, **environment: str) -> list[str]:
    """Return the settings of a boot partition after one more kernel, each a line."""
    boot, bin_ = directory / "boot", directory / "bin"
    program(bin_, "mountpoint", "exit 0")
    program(bin_, "unshare", NEW_KERNEL)
    if not boot.exists():
        boot.mkdir()
        (boot / "config.txt").write_text("kernel=vmlinuz-old\ninitramfs=initrd-old\n".ljust(SECTOR, "\n"))
    was = (boot / "config.txt").stat().st_ino
    path = f"{bin_}:{os.environ['PATH']}"
    run(TREE / "usr/lib/flowpi-image/update-boot", "hook", boot, PATH=path, **environment)
    now = (boot / "config.txt").stat()
    assert (now.st_ino, now.st_size) == (was, SECTOR)
    return (boot / "config.txt").read_text().split()


def test_a_kernel_comes_beside_the_one_in_use(tmp_path: Path) -> None:
    for prefix in ("a/", "b/", "a/"):
        assert update_boot(tmp_path, DEB_MAINT_PARAMS="configure '6.12'") == [
            f"os_prefix={prefix}",
            "kernel=vmlinuz-new",
        ]
        left = tmp_path / "boot" / prefix / f"left-in-{prefix[0]}"
        assert not left.exists()
        left.touch()


@pytest.mark.parametrize("why", ["upgrade 6.12", "purge", "abort-remove"])
def test_only_a_kernel_that_is_configured_or_removed_is_a_reason_to_write(tmp_path: Path, why: str) -> None:
    assert update_boot(tmp_path, DEB_MAINT_PARAMS=why) == ["kernel=vmlinuz-old", "initramfs=initrd-old"]


def test_a_root_of_yesterday_is_furnished_on_a_machine_that_was_switched_off_since(tmp_path: Path) -> None:
    clone, root = tmp_path / "clone", tmp_path / "root"
    shutil.copytree(IMAGE, clone)
    root.mkdir()
    program(clone, "emulate", f"touch {tmp_path}/emulated; exit 7")
    program(clone, "native-helpers", "exit 1")  # nothing more is done
    assert subprocess.run([clone / "furnish", root, "flowpi.deb"], check=False).returncode == 7
    assert (tmp_path / "emulated").exists()
