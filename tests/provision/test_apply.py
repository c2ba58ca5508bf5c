"""A valid file on the boot partition: its effects there and in /etc."""

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from flowpi.config.backends.flow import FlowSettings
from flowpi.config.schema import Config
from flowpi.config.secret import Secret
from flowpi.core.errors import CannotCreateError
from flowpi.host import boot_config_status
from flowpi.provision import apply
from flowpi.provision.wifi_files import WPA_SUPPLICANT
from tests.provision import on_read_only
from tests.provision.card import GOOD, SECRETS, Card, meant
from tests.rig.disks import alone

TEMPLATE = Path(__file__).parents[2] / "config" / "flowpi-boot.yaml"


def changed(directory: Path) -> dict[Path, tuple[int, int]]:
    """When and as what each was last changed; reading leaves it as it is."""
    return {path: (path.stat().st_ino, path.stat().st_ctime_ns) for path in directory.rglob("*")}


# The template


def test_the_template_changes_nothing_until_it_is_edited(card: Card) -> None:
    card.leave(TEMPLATE.read_text())
    assert card.provision() == 0
    assert card.loaded() == Config()


def test_the_examples_in_the_template_are_good(card: Card) -> None:
    head, _, rest = TEMPLATE.read_text().partition("\n\n")
    text = re.sub(r"^# (?=[a-z_ ]+:)", "", rest, flags=re.MULTILINE).replace("[local]", "[cloud, local]")
    card.installs(WPA_SUPPLICANT)
    card.leave(f"{head}\n{text}")
    assert card.provision() == 0
    config = card.loaded()
    assert (config.device_id, config.audio.device) == ("front-desk", "plughw:CARD=Device")
    cloud = config.backends["cloud"]
    assert isinstance(cloud, FlowSettings)
    assert cloud.token is not None
    assert cloud.token.api_key == Secret("credential", "flowpi_backends.cloud.token.api_key")
    assert card.credentials() == {"flowpi_backends.cloud.token.api_key": "your-key"}
    assert config.context.first_name == "Ada"
    assert card.network is not None
    assert card.network.ssid == b"our network"


def test_the_template_tells_no_lies() -> None:
    text = TEMPLATE.read_text()
    assert {apply.TAKEN, apply.ERROR, apply.CONFIG} <= set(re.findall(r"flowpi[a-z-]*\.[a-z]+", text))


# Nothing there


def test_an_empty_partition_is_left_alone(card: Card) -> None:
    before = card.tree()
    assert card.provision() == 0
    assert card.tree() == before


def test_no_partition_is_no_error(card: Card) -> None:
    card.boot.rmdir()
    assert card.provision() == 0


def test_where_there_is_nothing_to_do_no_yaml_and_no_daemon_is_imported(card: Card) -> None:
    done = card.spawn({"PYTHONPROFILEIMPORTTIME": "1"})
    assert done.returncode == 0
    assert "flowpi.provision.apply" in done.stderr
    for module in ("yaml", "numpy", "websockets", "flowpi.appliance.daemon", "flowpi.config.checks"):
        assert f"| {module}\n" not in done.stderr.replace(" ", "").replace("|", "| ")


# A good file


def test_the_configuration_is_in_etc_and_its_secrets_apart(card: Card) -> None:
    card.leave(GOOD)
    assert card.provision() == 0
    assert card.effective() == meant(GOOD)
    assert card.credentials() == {
        "flowpi_backends.cloud.token.api_key": SECRETS[0],
        "flowpi_backends.clinic.partner_token": SECRETS[1],
        "flowpi_backends.house.api_key": SECRETS[2],
    }
    assert set(card.credentials("credentials-asr").values()) == {SECRETS[3], SECRETS[4]}
    assert card.error is None
    assert boot_config_status.read(card.run) is None


def test_order_and_comments_stay(card: Card) -> None:
    card.leave(GOOD)
    card.provision()
    expected = GOOD.removesuffix("...\n")
    expected = expected.replace(SECRETS[0], "{credential: flowpi_backends.cloud.token.api_key}")
    expected = expected.replace(f"'{SECRETS[1]}'", "{credential: flowpi_backends.clinic.partner_token}")
    expected = expected.replace(f"|\n      {SECRETS[2]}", "{credential: flowpi_backends.house.api_key}")
    expected = expected.replace(f'"{SECRETS[3]}"', "{credential: flowpi_server.partners.ac2be69d3e6a5d59}")
    expected = expected.replace(SECRETS[4], "{credential: flowpi_server.api_keys.0}")
    assert card.config == expected


def test_no_secret_is_left_outside_the_credentials(card: Card) -> None:
    card.leave(GOOD)
    done = card.spawn()
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"info: {card.boot}/flowpi.yaml is in force; its secrets: 5\n"
    for name, content in card.tree().items():
        if not name.startswith("etc/flowpi/credentials"):
            assert not any(secret.encode() in content for secret in SECRETS), name


def test_nobody_else_reads_a_secret(card: Card) -> None:
    old = os.umask(0)
    try:
        card.leave(GOOD)
        card.provision()
    finally:
        os.umask(old)
    for service in ("credentials", "credentials-asr"):
        assert stat.S_IMODE((card.etc / service).stat().st_mode) == 0o700
        for path in (card.etc / service).iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((card.etc / "flowpi.yaml").stat().st_mode) in (0o640, 0o644)


def test_the_group_of_the_services_reads_the_configuration(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    group = next(number for number in os.getgroups() or [os.getgid()])

    class Group:
        gr_gid = group

    monkeypatch.setattr("grp.getgrnam", lambda name: {"flowpi": Group}[name])
    card.leave(GOOD)
    card.provision()
    found = (card.etc / "flowpi.yaml").stat()
    assert (found.st_gid, stat.S_IMODE(found.st_mode)) == (group, 0o640)


def test_a_secret_in_a_comment_goes_with_all_comments(card: Card) -> None:
    card.leave(GOOD.replace("# from the front desk", f"# {SECRETS[0]}, from the front desk"))
    card.provision()
    assert card.effective() == meant(GOOD)
    for text in (card.config, card.taken):
        assert text is not None
        assert SECRETS[0] not in text
    assert "front desk" not in (card.config or "")


def test_one_secret_by_an_alias_under_two_names(card: Card) -> None:
    text = "backends:\n  a: {kind: flow, url: 'wss://h/ws', api_key: &k abcdef}\n"
    text += "  b: {kind: flow, url: 'wss://i/ws', api_key: *k}\ndictation: {backends: [a, b]}\n...\n"
    card.leave(text)
    card.provision()
    assert card.effective() == meant(text)
    assert card.credentials() == {"flowpi_backends.a.api_key": "abcdef"}


def test_what_was_taken_can_be_edited_and_taken_again(card: Card) -> None:
    card.leave(GOOD)
    card.provision()
    before = card.credentials()
    assert card.taken is not None
    assert card.taken.splitlines()[-1] == "..."
    assert card.taken.count("\n") == card.taken.count("\r\n")
    assert card.taken.startswith("# flowpi took this over")
    card.leave(card.taken.replace("front-desk", "back-door"))
    assert card.provision() == 0
    assert card.taken.count("# flowpi took this over") == 1
    assert card.config is not None
    assert "# flowpi took this over" not in card.config
    assert card.loaded().device_id == "back-door"
    assert card.credentials() == before
    assert card.effective() == meant(GOOD.replace("front-desk", "back-door"))


def test_a_new_secret_gets_a_new_file_and_the_old_one_goes(card: Card) -> None:
    for secret in ("first", "second", "third"):
        card.leave(GOOD.replace(SECRETS[0], secret))
        card.provision()
        assert card.effective() == meant(GOOD.replace(SECRETS[0], secret))
        assert len(card.credentials()) == 3


def test_with_no_secrets_no_credentials_are_left(card: Card) -> None:
    card.leave(GOOD)
    card.provision()
    card.leave("led: {pin: 22}\n...\n")
    card.provision()
    assert card.credentials() == card.credentials("credentials-asr") == {}
    assert card.loaded().led.pin == 22


def test_the_same_file_again_writes_nothing_in_etc(card: Card) -> None:
    card.leave(GOOD)
    card.provision()
    before = changed(card.etc)
    card.leave(GOOD)
    card.provision()
    assert changed(card.etc) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: "\ufeff" + text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: text.rstrip("\n"),
        lambda text: text + "\n \n\t\n",
        lambda text: text.replace("\n...", "\n...  "),
    ],
    ids=["CRLF", "BOM", "BOM and CRLF", "CR", "no last end of line", "blank lines below", "spaces behind the end mark"],
)
def test_what_editors_make_of_the_text(card: Card, change: Callable[[str], str]) -> None:
    card.leave(change(GOOD))
    assert card.provision() == 0
    assert card.effective() == meant(GOOD)
    assert card.config is not None
    assert "\r" not in card.config
    assert card.config.startswith("# The desk")


def test_the_first_partition_with_a_file_counts(card: Card) -> None:
    other = card.directory / "other"
    other.mkdir()
    (other / "flowpi.yaml").write_text("led: {pin: 22}\n...\n")
    boots = [card.directory / "none", card.boot, other]
    assert apply.provision(boots, card.etc, None) == 0
    assert card.loaded().led.pin == 22
    (other / "flowpi.yaml").write_text("led: {pin: 23}\n...\n")
    card.leave("led: {pin: 24}\n...\n")
    assert apply.provision(boots, card.etc, None) == 0
    assert card.loaded().led.pin == 24
    assert (other / "flowpi.yaml").exists()


@pytest.mark.parametrize("name", [*apply.NAMES, "Flowpi.yaml", "FLOWPI.YML"])
def test_what_editors_make_of_the_name(card: Card, name: str) -> None:
    card.leave(GOOD, name)
    assert card.provision() == 0
    assert card.effective() == meant(GOOD)
    assert not (card.boot / name).exists()


def test_a_secret_that_was_written_into_what_was_taken_is_wiped_there_too(card: Card) -> None:
    card.leave(GOOD)
    card.provision()
    taken = card.leave(GOOD, apply.TAKEN)
    with taken.open("rb") as file:
        card.leave(GOOD)
        card.provision()
        assert not any(secret.encode() in file.read() for secret in SECRETS)
        file.seek(0)
        assert file.read() == taken.read_bytes()


def test_what_is_half_wiped_is_wiped_and_not_taken(card: Card) -> None:
    card.leave(GOOD)
    card.provision()
    before = changed(card.etc)
    rest = GOOD.encode()[apply.SECTOR_BYTES :]
    card.leave(apply.WIPING.ljust(apply.SECTOR_BYTES) + rest)
    with (card.boot / "flowpi.yaml").open("rb") as file:
        assert card.provision() == 0
        assert file.read().rstrip(b"\0").rstrip() == apply.WIPING.rstrip()
    assert not (card.boot / "flowpi.yaml").exists()
    assert changed(card.etc) == before


def test_the_whole_of_its_last_cluster_is_wiped(card: Card) -> None:
    """An editor may have left the end of an earlier, longer text there."""
    path = card.leave(GOOD)
    with path.open("rb") as file:
        card.provision()
        content = file.read()
        assert len(content) % os.fstat(file.fileno()).st_blksize == 0
    assert content.rstrip(b"\0").rstrip() == apply.WIPING.rstrip()


# Writing is refused


def test_a_card_that_forgets(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file must stay on the partition: /etc would lose its content at a power cut."""
    monkeypatch.setattr(apply, "forgets", lambda path: path == card.etc)
    path = card.leave(GOOD)
    with pytest.raises(CannotCreateError, match="raspi-config"):
        card.provision()
    assert card.config is None
    assert path.read_text() == GOOD
    assert "overlay" in (card.error or "")


def test_an_etc_that_takes_nothing(card: Card) -> None:
    card.leave(GOOD)
    card.etc.rmdir()
    card.etc.write_text("in the way")
    with pytest.raises(CannotCreateError, match=r"cannot write to .*etc"):
        card.provision()
    assert card.error is not None
    assert (card.boot / "flowpi.yaml").read_text() == GOOD


def test_without_the_right_to_write_it_says_who_may(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(apply, "replace_file", refuse)  # root, who may run this, can write everywhere
    card.leave("led: {pin: 22}\n...\n")
    with pytest.raises(CannotCreateError) as caught:
        card.provision()
    assert str(caught.value) == f"cannot write to {card.etc} (Permission denied): run it as root"


def test_a_partition_that_takes_nothing() -> None:
    """The configuration is applied once; wiping is reported as pending, and done once it is possible."""
    first, second, third, (taken, etc), (log, refusal) = alone(on_read_only.__name__)
    assert first[:2] == [74, ["flowpi.yaml"]]
    assert second == [*first[:2], first[2] + "# edited\n"], "the owner's edit stays"
    assert third == [0, ["flowpi-taken.yaml"], first[2] + 2 * "# edited\n"]
    assert taken.replace("\r", "") == f"{apply.HEAD}{third[2]}...\n"
    assert etc == ["credentials", "credentials-asr", "flowpi.yaml"]
    cannot = "WARNING:flowpi.provision.apply:cannot write CARD/boot/flowpi-taken.yaml (Read-only file system)"
    assert log == [cannot, cannot]
    assert refusal is None
