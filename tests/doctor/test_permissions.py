from pathlib import Path

import pytest

from flowpi.config.backends.flow import FlowSettings
from flowpi.config.schema import AudioSettings, ButtonSettings, Config, LedSettings, PublishSettings, SocketSettings
from flowpi.config.secret import Secret
from flowpi.doctor import permissions
from flowpi.doctor.permissions import Accounts

UNIT = {"LoadState": "loaded", "User": "flowpi", "SupplementaryGroups": "audio gpio"}
KNOWN = Accounts({"root", "pi", "flowpi"}, {"flowpi": {"flowpi"}, "audio": {"pi"}, "gpio": set(), "input": {"flowpi"}})
PEDAL = Config(
    button=ButtonSettings(kind="evdev", device="/no/such/device", key="KEY_F13"), led=LedSettings(kind="none")
)


def test_the_groups_of_the_unit_are_enough() -> None:
    assert permissions.service(Config(), UNIT, KNOWN) == []


def test_those_of_the_user_are_enough() -> None:
    assert permissions.service(PEDAL, UNIT, KNOWN) == []


@pytest.mark.parametrize(
    ("config", "unit", "known", "code", "hint"),
    [
        (
            Config(),
            UNIT,
            Accounts({"root"}, {}),
            "no_user",
            permissions.BRING_THE_USER_BACK,
        ),
        (
            Config(),
            UNIT,
            Accounts(KNOWN.users, {name: KNOWN.groups[name] for name in ("flowpi", "audio")}),
            "no_group",
            "sudo groupadd --system gpio && sudo udevadm control --reload && sudo udevadm trigger",
        ),
        (
            Config(button=ButtonSettings(kind="none"), led=LedSettings(kind="none")),
            {**UNIT, "SupplementaryGroups": ""},
            KNOWN,
            "not_member",
            "sudo usermod -aG audio flowpi && sudo systemctl restart flowpi",
        ),
        (
            Config(led=LedSettings(kind="apa102"), audio=AudioSettings(source="wav", path="x")),
            UNIT,
            KNOWN,
            "no_group",
            "sudo groupadd --system spi && sudo udevadm control --reload && sudo udevadm trigger",
        ),
        (
            PEDAL,
            UNIT,
            Accounts(KNOWN.users, {**KNOWN.groups, "input": set()}),
            "not_member",
            "sudo usermod -aG input flowpi && sudo systemctl restart flowpi",
        ),
    ],
)
def test_what_the_service_lacks(config: Config, unit: dict[str, str], known: Accounts, code: str, hint: str) -> None:
    (finding,) = permissions.service(config, unit, known)
    assert (finding.level, finding.code, finding.hint) == ("failure", code, hint)


def test_the_recogniser_has_a_user_that_is_not_in_the_group_of_the_daemon() -> None:
    unit = {"LoadState": "loaded", "User": "flowpi-asr"}
    (finding,) = permissions.recogniser(unit, KNOWN)
    assert (finding.level, finding.code, finding.hint) == ("failure", "no_user", permissions.BRING_THE_USER_BACK)
    users = {*KNOWN.users, "flowpi-asr"}
    assert permissions.recogniser(unit, Accounts(users, KNOWN.groups)) == []
    (finding,) = permissions.recogniser(unit, Accounts(users, {"flowpi": {"flowpi", "flowpi-asr"}}))
    assert (finding.level, finding.code, finding.hint) == ("warning", "exposed", "sudo gpasswd -d flowpi-asr flowpi")
    assert permissions.recogniser({"User": "flowpi"}, KNOWN) == [], "of an earlier version, or changed by hand"


def test_a_pedal_may_be_of_the_services_own_group(tmp_path: Path) -> None:
    (tmp_path / "pedal").touch()
    config = Config(
        button=ButtonSettings(kind="evdev", device=str(tmp_path / "pedal"), key="KEY_F13"), led=LedSettings(kind="none")
    )
    mine = (tmp_path / "pedal").group()
    assert permissions.needed(config) == ["audio", mine]
    nobodys = Accounts(KNOWN.users, {**KNOWN.groups, mine: set()})
    assert [finding.code for finding in permissions.service(config, UNIT, nobodys)] == ["not_member"]
    its_own = Accounts(KNOWN.users, {**KNOWN.groups, mine: {"flowpi"}})
    assert permissions.service(config, UNIT, its_own) == []


def test_a_key_that_all_can_read(tmp_path: Path) -> None:
    file = tmp_path / "flowpi.yaml"
    file.touch(mode=0o644)
    cloud = FlowSettings("wss://cloud.example/ws", api_key=Secret("literal", "canary"))
    config = Config(backends={"cloud": cloud}, publish=PublishSettings(socket=SocketSettings(path=str(tmp_path / "s"))))
    (finding,) = permissions.examine(config, str(file))
    assert (finding.level, finding.code) == ("warning", "exposed")
    assert finding.message == f"{file}: backends.cloud.api_key can be read by every user of this machine"
    assert finding.hint.startswith(f"chmod 640 {file}, or")
    file.chmod(0o640)
    assert [one.code for one in permissions.examine(config, str(file))] == ["works"]


def test_the_accounts_of_this_machine() -> None:
    known = permissions.accounts()
    assert "root" in known.users
    assert "root" in known.groups["root"]  # by its primary group
