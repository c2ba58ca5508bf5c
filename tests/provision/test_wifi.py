"""`wifi` in the file on the boot partition: the network that the system joins, and that its password is nowhere."""

import re
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowpi.config.loading import to_yaml
from flowpi.core.errors import CannotCreateError, ConfigError
from flowpi.provision import boot_file, wifi_files
from flowpi.provision.wifi import Network
from flowpi.provision.wifi_files import NETWORK_MANAGER, WPA_SUPPLICANT, Program
from tests.provision.card import GOOD, Card, meant
from tests.provision.test_refused import refused
from tests.waiting import PATIENCE_S

PASSWORD = "canary battery staple"
WIFI = f"wifi: {{ssid: our house, password: {PASSWORD}, country: DE}}\n"
WITH_WIFI = GOOD.replace("...\n", f"{WIFI}...\n")

PROGRAMS = pytest.mark.parametrize("program", [WPA_SUPPLICANT, NETWORK_MANAGER], ids=lambda each: each.path)


@pytest.fixture(autouse=True)
def installed(card: Card) -> None:
    card.installs(WPA_SUPPLICANT)


def understood(text: str) -> Network:
    network = boot_file.understand(f"{text}\n...\n".encode(), "flowpi.yaml").network
    assert isinstance(network, Network)
    return network


# What is written


def test_the_network_is_where_wpa_supplicant_looks(card: Card) -> None:
    card.leave(WITH_WIFI)
    assert card.provision() == 0
    assert card.effective() == meant(GOOD)
    path = card.system / "wpa_supplicant" / "wpa_supplicant-wlan0.conf"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert card.network == understood(WIFI)


def test_where_network_manager_starts_it_gets_the_network(card: Card) -> None:
    card.installs(NETWORK_MANAGER)
    card.leave(WITH_WIFI)
    assert card.provision() == 0
    path = card.system / "NetworkManager" / "system-connections" / "flowpi.nmconnection"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not (card.system / WPA_SUPPLICANT.path).exists()
    assert card.network == understood(WIFI)


def test_the_password_is_nowhere(card: Card) -> None:
    card.leave(WITH_WIFI)
    done = card.spawn()
    assert (done.returncode, done.stdout) == (0, "")
    for text in (done.stderr, *(content.decode() for content in card.tree().values())):
        assert PASSWORD not in text
    assert "wifi" not in (card.config or "wifi")
    network = card.network
    assert network is not None
    shown = f"{done.stderr}{card.taken}{card.config}{network!r}"
    assert network.key is not None
    assert network.key not in shown


@pytest.mark.parametrize(
    "text",
    [
        WITH_WIFI,
        f"{WIFI}{GOOD}",
        GOOD.replace(
            "backends:\n",
            f"wifi:   # at home\n  ssid: our house\n  # {PASSWORD}\n  password: {PASSWORD}   # {PASSWORD}\n"
            "  country: DE\n# The services\nbackends:\n",
        ),
        GOOD.replace("...\n", f"wifi:\n  country: de\n  ssid: our house\n  password: |\n    {PASSWORD}\n...\n"),
    ],
    ids=["last", "first", "a block with comments", "a block of text"],
)
def test_order_and_comments_of_the_rest_stay(card: Card, text: str) -> None:
    card.leave(GOOD)
    card.provision()
    before = card.config
    card.leave(text)
    card.provision()
    assert (card.config or "").replace("# The services\n", "") == before
    assert ("# The services" in text) == ("# The services" in (card.config or ""))
    assert card.network == understood(WIFI)


@pytest.mark.parametrize(
    "text",
    [
        f"{{led: {{pin: 22}}, wifi: {{ssid: our house, password: {PASSWORD}, country: DE}}}}\n...\n",
        f"{WIFI}led: {{pin: 22}}   # {PASSWORD}\n...\n",
        f"context: {{user_first_name: &name our house}}\nled: {{pin: 22}}\n{WIFI.replace('our house', '*name')}...\n",
        f"{WIFI.replace('our house', '&name our house')}context: {{user_first_name: *name}}\nled: {{pin: 22}}\n...\n",
    ],
    ids=["one line", "the password in a comment", "an alias", "an anchor"],
)
def test_any_yaml_loses_the_network_and_nothing_else(card: Card, text: str) -> None:
    card.leave(text)
    assert card.provision() == 0
    assert card.loaded().led.pin == 22
    assert card.effective() == meant(text)
    assert PASSWORD not in f"{card.config}{card.taken}"
    assert card.network == understood(WIFI)


def test_a_file_with_a_network_alone(card: Card) -> None:
    for text in (WIFI, f"{{{WIFI.strip()}}}\n"):
        card.leave(f"{text}...\n")
        assert card.provision() == 0
        assert card.config == ""
        card.leave(card.taken or "")
        assert card.provision() == 0
        assert card.network == understood(WIFI)


def test_a_card_that_takes_no_network_keeps_the_configuration(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(30, "Read-only file system")

    card.leave("led: {pin: 22}\n...\n")
    card.provision()
    monkeypatch.setattr(wifi_files, "replace_file", refuse)
    card.leave(WITH_WIFI)
    with pytest.raises(CannotCreateError, match=r"wpa_supplicant-wlan0\.conf \(Read-only file system"):
        card.provision()
    assert card.loaded().led.pin == 22
    assert (card.boot / "flowpi.yaml").read_text() == WITH_WIFI


# The next file


@PROGRAMS
def test_what_was_taken_keeps_the_password(card: Card, program: Program) -> None:
    card.installs(program)
    card.leave(WITH_WIFI.replace("country: DE", "country: DE, hidden: true"))
    card.provision()
    path = card.system / program.path
    before = path.stat().st_ino, path.read_bytes()
    assert yaml.safe_load(card.taken or "")["wifi"] == {
        "ssid": "our house",
        "password": "kept",
        "country": "DE",
        "hidden": True,
    }
    card.leave((card.taken or "").replace("front-desk", "back-door"))
    assert card.provision() == 0
    assert card.loaded().device_id == "back-door"
    assert (path.stat().st_ino, path.read_bytes()) == before
    card.leave((card.taken or "").replace("country: DE", "country: AT"))
    assert card.provision() == 0
    assert path.read_bytes() == before[1].replace(b"country=DE", b"country=AT")


def test_a_file_without_a_network_leaves_it_as_it_is(card: Card) -> None:
    card.leave(WITH_WIFI)
    card.provision()
    card.leave(GOOD)
    assert card.provision() == 0
    assert card.network == understood(WIFI)
    assert "password: kept" in (card.taken or "")


@PROGRAMS
def test_none_forgets_the_network(card: Card, program: Program) -> None:
    card.installs(program)
    card.leave(WITH_WIFI)
    card.provision()
    for _ in range(2):
        card.leave(GOOD.replace("...\n", "wifi: none\n...\n"))
        assert card.provision() == 0
        assert card.network is None
        assert not (card.system / program.path).exists()
        assert "wifi" not in f"{card.config}{card.taken}"


@PROGRAMS
def test_none_forgets_what_a_power_cut_left_half_written(card: Card, program: Program) -> None:
    card.installs(program)
    path = card.system / program.path
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.rename", lambda *names, **folders: sys.exit())  # the power fails
        with pytest.raises(SystemExit):
            wifi_files.apply(card.system, understood(WIFI))
    assert list(path.parent.iterdir())
    wifi_files.apply(card.system, "none")
    assert not list(path.parent.iterdir())


@pytest.mark.parametrize(
    ("earlier", "text", "problem"),
    [
        ("", WIFI, "and this appliance has none"),
        ("wifi: {ssid: our house, password: none, country: DE}", WIFI, "and this appliance has none"),
        (WIFI, WIFI.replace("our house", "another"), "belongs to a network of another name"),
        (WIFI, WIFI.replace("DE", "DE, wpa3: true"), "WPA3 needs the password itself"),
    ],
)
def test_what_is_kept_must_fit(card: Card, earlier: str, text: str, problem: str) -> None:
    card.leave(f"{earlier}\n...\n")
    card.provision()
    card.leave(f"led: {{pin: 22}}\n{text.replace(PASSWORD, 'kept')}...\n")
    said = refused(card)
    assert said.startswith("flowpi.yaml, line 2: wifi.password is kept, ")
    assert problem in said
    assert said.endswith("write the password itself there")


def test_a_kept_password_will_do_for_wpa2_again(card: Card) -> None:
    card.leave(WITH_WIFI.replace("DE", "DE, wpa3: true"))
    card.provision()
    assert card.network is not None
    assert card.network.key == PASSWORD
    card.leave((card.taken or "").replace("wpa3: true", "wpa3: false"))
    card.provision()
    assert card.network == understood(WIFI)


def test_a_file_of_another_hand_is_replaced(card: Card) -> None:
    path = card.system / WPA_SUPPLICANT.path
    for text in ("", "network={\n", "\0\xff=", "country=DE\nnetwork={\nssid=xyz\nkey_mgmt=NONE\n}\n"):
        path.write_text(text)
        assert card.network is None
        card.leave(WITH_WIFI)
        assert card.provision() == 0
        assert card.network == understood(WIFI)


HOME = 'country=DE\nnetwork={\nssid="home"\nkey_mgmt=WPA-PSK\npsk="at home I am"\n}\n'


@pytest.mark.parametrize(
    "text",
    [
        'country=DE\nnetwork={\nssid="campus"\nkey_mgmt=WPA-EAP\nidentity="ada"\npassword="x"\n}\n',
        f'{HOME}network={{\nssid="work"\nkey_mgmt=WPA-PSK\npsk="at work I am"\n}}\n',
    ],
    ids=["WPA-EAP", "two networks"],
)
def test_a_network_that_flowpi_cannot_write_is_not_offered_as_kept(card: Card, text: str) -> None:
    """Saved again as it is shown, it would be replaced by one that does not work."""
    path = card.system / WPA_SUPPLICANT.path
    path.write_text(text)
    card.leave(GOOD)
    assert card.provision() == 0
    assert "wifi" not in (card.taken or "")
    assert path.read_text() == text


# What is wrong


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("wifi:", "line 1: wifi is empty: write its keys below it"),
        ("wifi: canary-home", "line 1: wifi must be a mapping, or none"),
        ("wifi: {}", "line 1: wifi.ssid is missing"),
        ("wifi: [canary]", "line 1: wifi has a key that is not known: known here: ssid, password, country"),
        ('wifi: {ssid: "", password: canary-1, country: DE}', "line 1: wifi.ssid is empty"),
        ("wifi:\n  ssid: home\n  country: DE\n", "line 1: wifi.password is missing: write the password of the network"),
        ("wifi:\n  ssid: home\n  password:\n  country: DE\n", "line 3: wifi.password is empty"),
        ("wifi:\n  ssid: home\n  password: canary1\n  country: DE\n", "line 3: wifi.password must have 8 to 63"),
        (f"wifi: {{ssid: home, password: {'canary' * 11}, country: DE}}", "wifi.password must have 8 to 63"),
        ("wifi: {ssid: home, password: canaryé1, country: DE}", "wifi.password has a character that no Wi-Fi"),
        ('wifi: {ssid: home, password: "canary\\t12", country: DE}', "wifi.password has a character that no Wi-Fi"),
        ("wifi: {ssid: home, password: {file: /canary}, country: DE}", "wifi.password must be text: write it in one"),
        ("wifi: {ssid: [home], password: canary-1, country: DE}", "wifi.ssid must be text"),
        ("wifi: {ssid: home, password: 0123456_7, country: DE}", "wifi.password is no plain number: put it in quotes"),
        (f"wifi: {{ssid: {'é' * 17}, password: canary-1, country: DE}}", "wifi.ssid is longer than 32 bytes"),
        ("wifi: {ssid: home, password: canary-1}", "wifi.country is missing: write the two letters"),
        ("wifi: {ssid: home, password: canary-1, country: Germany}", "wifi.country must be two letters"),
        ("wifi: {ssid: home, password: canary-1, country: uk}", "wifi.country is not the code of a country: did you"),
        ("wifi: {ssid: home, password: canary-1, country: DE, hidden: maybe}", "wifi.hidden must be true or false"),
        ("wifi: {ssid: home, passwort: canary-1, country: DE}", "line 1: wifi has a key that is not known"),
        ('wifi: {ssid: home, password"canary-1", country: DE}', "line 1: wifi has a key that is not known"),
        (f"wifi: {{ssid: home, password: {'a' * 64}, country: DE, wpa3: true}}", "must be the password itself"),
        ("wifi: {ssid: home, password: none, country: DE, wpa3: true}", "must be the password itself"),
        ("wifi:\nssid: home\npassword: canary-1\n", "line 1: wifi is empty: write its keys below it"),
        ("led: {pin: 22}\nssid: home\n", "ssid is not a known key"),
        (f"{WIFI}led: {{pin: 99}}\n", "line 2: led.pin must be a whole number"),
    ],
)
def test_what_is_wrong_is_said_in_words(card: Card, text: str, words: str) -> None:
    card.leave(f"{text}\n...\n")
    said = refused(card)
    assert words in said
    assert "canary" not in said
    assert len(said) < 250
    assert card.network is None


def test_without_a_program_for_it_the_file_is_refused(card: Card) -> None:
    (card.system / "wpa_supplicant").rmdir()
    card.leave(f"led: {{pin: 22}}\n{WIFI}...\n")
    said = refused(card)
    assert said == (
        "flowpi.yaml, line 2: wifi cannot be set up, as neither wpa_supplicant nor NetworkManager is on this "
        "appliance: take it out, or install wpasupplicant"
    )


@pytest.mark.parametrize("slip", ["", " ", "\n", ":", "'", '"', "*", "- ", "#"])
def test_no_slip_of_the_finger_shows_the_password(slip: str) -> None:
    secret = "canary-2a9b"
    whole = f"wifi:\n  ssid: our house\n  password: {secret}\n  country: DE\n...\n"
    for text in (whole, f"wifi: {{ssid: our house, password: {secret}, country: DE}}\n...\n"):
        for at in range(len(text) - 4):
            for slipped in (text[:at] + slip + text[at:], text[:at] + slip + text[at + 1 :]):
                said = ""
                try:
                    boot_file.understand(slipped.encode(), "flowpi.yaml")
                except ConfigError as error:
                    said = str(error)
                assert "canary" not in said
                assert secret[-4:] not in said


def test_elsewhere_it_is_unknown_and_where_it_belongs_is_said(card: Card) -> None:
    path = card.etc / "flowpi.yaml"
    path.write_text(WIFI)
    with pytest.raises(ConfigError) as caught:
        card.loaded()
    assert str(caught.value) == (
        f"{path}, line 1: wifi is not a known key: "
        "take it out: Wi-Fi is set in flowpi.yaml on the boot partition only (docs/first-boot.md)"
    )


# What the programs make of it


printable = st.characters(min_codepoint=0x20, max_codepoint=0x7E)
ssids = st.one_of(st.text(printable, min_size=1, max_size=32), st.text(min_size=1, max_size=16)).filter(
    lambda ssid: len(ssid.encode(errors="replace")) <= 32 and not any("\ud800" <= letter <= "\udfff" for letter in ssid)
)
passwords = st.one_of(
    st.text(printable, min_size=8, max_size=63), st.text("0123456789abcdefABCDEF", min_size=64, max_size=64)
)


@st.composite
def sections(draw: st.DrawFn) -> dict[str, object]:
    wpa3 = draw(st.booleans())
    password = st.text(printable, min_size=8, max_size=63) if wpa3 else st.one_of(passwords, st.just("none"))
    section: dict[str, object] = {
        "ssid": draw(ssids),
        "password": draw(password),
        "country": draw(st.sampled_from(["DE", "no", "US"])),
    }
    return section | {key: True for key, on in (("hidden", draw(st.booleans())), ("wpa3", wpa3)) if on}


def in_words(section: dict[str, object], style: str | None = None) -> str:
    return (
        yaml.safe_dump({"wifi": section}, allow_unicode=True, default_style=style)
        if style
        else to_yaml({"wifi": section})
    )


@settings(max_examples=60, suppress_health_check=list(HealthCheck), deadline=None)
@given(sections(), st.sampled_from([WPA_SUPPLICANT, NETWORK_MANAGER]), st.sampled_from([None, '"']))
def test_any_network_is_written_and_read_back(section: dict[str, object], program: Program, style: str | None) -> None:
    with tempfile.TemporaryDirectory() as directory:
        card = Card(Path(directory))
        card.installs(program)
        card.leave(f"led: {{pin: 22}}\n{in_words(section, style)}...\n".encode())
        assert card.provision() == 0
        network = understood(in_words(section, '"'))
        assert card.network == network
        assert network.ssid == str(section["ssid"]).encode()
        assert (card.config or "").endswith("led: {pin: 22}\n")
        before = card.tree()
        card.leave(card.taken or "")
        assert card.provision() == 0
        assert card.tree() == before


def hexdumps(said: str, name: str) -> list[bytes]:
    """Return every value of this name that wpa_supplicant says it has read, which it shows in lines of 16 bytes."""
    found = re.findall(
        rf"^{name} - hexdump(?:_ascii)?\(len=\d+\):((?: [0-9a-f]{{2}})+$|(?:\n {{5}}.*)+)", said, re.MULTILINE
    )
    return [
        bytes.fromhex("".join(line[:53] if lines[0] == "\n" else line for line in lines.split("\n"))) for lines in found
    ]


@settings(max_examples=50, suppress_health_check=list(HealthCheck), deadline=None)
@given(sections())
def test_wpa_supplicant_reads_the_same(section: dict[str, object]) -> None:
    network = understood(in_words(section, '"'))
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(WPA_SUPPLICANT.written(network))
        file.flush()
        # It reads the file before it finds that there is no such interface.
        command = ["/sbin/wpa_supplicant", "-i", "none0", "-D", "wired", "-c", file.name, "-dd", "-K"]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=PATIENCE_S)
    said = done.stdout
    assert "none0: Failed to initialize driver interface" in said, said
    assert hexdumps(said, "ssid") == [network.ssid]
    assert f"country='{network.country}'" in said
    assert ("scan_ssid=1" in said) == network.hidden
    match network:
        case Network(key=None):
            assert "key_mgmt: 0x4\n" in said
        case Network(wpa3=True, key=str(key)):
            assert "key_mgmt: 0x400\n" in said
            assert hexdumps(said, "sae_password") == [key.encode()]
        case Network(key=str(key)):
            assert "key_mgmt: 0x102\n" in said
            assert hexdumps(said, "PSK") == [bytes.fromhex(key)]


@settings(max_examples=30, suppress_health_check=list(HealthCheck), deadline=None)
@given(st.text(printable, min_size=1, max_size=32), st.text(printable, min_size=8, max_size=63))
def test_the_key_is_that_of_wpa_passphrase(ssid: str, password: str) -> None:
    command = ["/usr/bin/wpa_passphrase", ssid, password]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    found = re.search(r"^\tpsk=([0-9a-f]{64})$", done.stdout, re.MULTILINE)
    assert found is not None
    assert understood(in_words({"ssid": ssid, "password": password, "country": "DE"}, '"')).key == found[1]


def test_what_network_manager_reads() -> None:
    """As `nmcli --offline connection modify` reads and writes it."""
    network = Network("Ada\u2019s".encode(), "DE", " a\\s;b#c ", hidden=True, wpa3=True)
    assert NETWORK_MANAGER.written(network).removeprefix(wifi_files.HEAD) == (
        "[connection]\nid=flowpi\ntype=wifi\nautoconnect-retries=0\n\n"
        "[wifi]\nssid=65;100;97;226;128;153;115;\npowersave=2\nhidden=true\n\n"
        "[wifi-security]\nkey-mgmt=sae\npsk=\\sa\\\\s;b#c\\s\n\n"
        "[user]\nflowpi.country=DE\n"
    )
