"""The image of `make image` in an emulated Raspberry Pi 3, from the card as it is flashed to a text.

A boot is minutes of computing, so each shows all that it can. Nothing is waited for by a clock: the power fails when
the card itself shows that the moment has come.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowpi.core.faults import SILENCE
from tests.rig import card as rig
from tests.rig import store
from tests.rig.card import Card
from tests.rig.machine import BUTTON_PIN, LED_PIN
from tests.speech import Recording, word_error_rate
from tests.system.talking import FINAL

pytestmark = pytest.mark.arm

SECRET, PASSWORD = "0123456789-a-key-of-this-house", "a password of this house"
CONFIGURATION = f"""\
device_id: kitchen
audio: {{device: "plughw:CARD=Loopback,DEV=1"}}
dictation: {{backends: [local], first_result_timeout_s: 600}}
backends: {{local: {{kind: flow, url: "ws+unix:///run/flowpi/asr.sock", client_key: {SECRET}}}}}
wifi: {{ssid: Our House, password: {PASSWORD}, country: DE}}
...
"""
KEY = b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB7CjA7jcIVgsYs3CyQyZP7y8CDrVk0gJ0rLhp1aQF6r someone\n"
LOG_IN = """\
ssh-keygen -q -t ed25519 -N '' -f /run/key
{ printf '\\357\\273\\277'; cat /run/key.pub; } > /boot/firmware/authorized_keys
ssh -i /run/key -o BatchMode=yes -o StrictHostKeyChecking=no root@localhost id -un
"""
"""With a key from an editor that begins a file with a byte order mark."""

READY = "systemctl is-active flowpi", "systemctl is-active flowpi-asr"
SPEAK = "aplay --quiet --device plughw:CARD=Loopback,DEV=0 /boot/firmware/spoken.wav"
"""To the other side of a sound card that hears what is played; the kernel has it, a Pi does not."""


@pytest.fixture
def card(tmp_path: Path) -> Iterator[Card]:
    with Card(rig.fresh(), tmp_path) as card:
        yield card
    store.remove(tmp_path)


def gpio(card: Card, pin: int, seconds: float = 0.0) -> set[str]:
    """Return all that the kernel says of a GPIO line within so many seconds."""
    look = f"grep -F '(GPIO{pin} ' /sys/kernel/debug/gpio"
    said = card.sh(f"{look}; for n in $(seq {int(seconds / 0.2)}); do sleep 0.2; {look}; done")
    return {" ".join(each.split()) for each in said.splitlines()}


def test_a_first_boot_that_is_cut_off_twice_comes_to_a_text_and_a_third_cut_loses_no_word(
    card: Card, spoken: Path, sentence: Recording
) -> None:
    card.save(CONFIGURATION.encode(), "flowpi.yaml")
    card.save(KEY, "authorized_keys")
    card.save(spoken.read_bytes(), "spoken.wav")

    table, root_bytes = card.table(), card.root_bytes()
    card.switch_on(rig.WATCHDOG_OFF)
    card.wait_until(lambda: card.table() != table)
    card.power_cut()
    assert card.root_bytes() == root_bytes, "the partition has grown, and its file system has not"

    card.switch_on(rig.WATCHDOG_OFF)
    card.wait_until(lambda: card.read("flowpi.yaml") != CONFIGURATION.encode())
    card.power_cut()  # the configuration is in force, and its file is being wiped

    card.boot("modules_load=snd-aloop")
    card.until(*READY, "systemctl is-active ssh")
    assert ": clean" in card.sh("cat /run/initramfs/fsck.log"), "the root was checked before it was mounted"
    assert int(card.sh("findmnt --noheadings --bytes --output SIZE /")) > 0.85 * rig.CARD_BYTES
    assert card.sh("systemctl --failed --no-legend --plain") == ""
    assert card.sh("cat /etc/hostname; hostname").split() == [f"flowpi-{rig.SERIAL[-8:]}"] * 2
    assert len(card.sh("cat /etc/machine-id").strip()) == 32
    assert card.sh(LOG_IN).split()[-1] == "root"
    assert [line.split()[0] for line in card.sh("ip -brief link").splitlines()] == ["lo"], "no network was waited for"
    assert card.sh("systemctl list-jobs --no-legend") == ""
    assert card.read("flowpi.yaml") == b""
    assert "device_id: kitchen" in card.sh("cat /etc/flowpi/flowpi.yaml")
    wifi = "/etc/wpa_supplicant/wpa_supplicant-wlan0.conf"
    assert card.sh(f"stat --format=%a {wifi}; grep country {wifi}").split() == ["600", "country=DE"]
    card.sh("sync")
    assert not any(secret.encode() in card.boot_partition() for secret in (SECRET, PASSWORD))
    faults = json.loads(card.sh("flowpi status --json"))["state"]["faults"]
    assert {fault["code"] for fault in faults} <= {SILENCE}, "as long as nobody speaks"

    (button,) = gpio(card, BUTTON_PIN)
    assert "|flowpi" in button
    assert " in lo IRQ" in button, "QEMU's pins have no pull"
    assert any(" out lo" in led for led in gpio(card, LED_PIN, 1)), "ready, or the short flashes of silence"
    card.sh("flowpi record start")
    assert all(" out hi" in led for led in gpio(card, LED_PIN, 1))
    card.sh(f"{SPEAK} && flowpi record stop")
    card.until(FINAL)
    (text,) = (json.loads(line)["text"] for line in card.sh(FINAL).splitlines())
    assert word_error_rate(sentence.text, text) <= 0.2, text

    card.sh(f"flowpi record start && {SPEAK}")
    earlier = int(card.sh("sync; date +%s"))
    card.power_cut()
    card.boot("modules_load=snd-aloop")
    card.until(*READY, f"[ $({FINAL} | wc -l) = 2 ]")
    assert [json.loads(line)["text"] for line in card.sh(FINAL).splitlines()] == [text, text]
    assert int(card.sh("date +%s")) >= earlier
    assert card.sh("systemctl --failed --no-legend --plain") == ""


REFUSED = {
    CONFIGURATION.replace("local]", "local"): "is not YAML",
    CONFIGURATION[:-20]: "the file may be cut off",
    CONFIGURATION.replace("country: DE", "country: DE, pasword: x"): "wifi has a key that is not known",
}
"""What is wrong with it, by the file."""


def refuses(card: Card, content: str, words: str) -> None:
    """Check that a file changed nothing, and that the card says what is wrong."""
    assert words in card.read("flowpi-error.txt").decode()
    assert card.read("flowpi.yaml") == content.encode()
    assert card.run("systemctl is-failed flowpi-provision").code == 0
    assert words in card.sh("flowpi status --json")


def test_without_a_file_that_can_be_used_a_card_is_as_it_came(card: Card) -> None:
    (broken, words), *others = REFUSED.items()
    card.save(broken.encode(), "flowpi.yaml")
    card.boot("systemd.mask=flowpi-asr.service")
    as_it_came = card.sh("cat /etc/flowpi/flowpi.yaml")
    card.until(READY[0])
    refuses(card, broken, words)
    assert card.sh("systemctl --failed --no-legend --plain").split()[0] == "flowpi-provision.service"
    # The next boots, without the kernel.
    again = "systemctl stop flowpi; systemctl restart flowpi-provision; systemctl start flowpi"
    for content, words in others:
        card.sh(
            f"cat > /boot/firmware/flowpi.yaml << 'END'\n{content}\nEND\ntruncate --size=-1 /boot/firmware/flowpi.yaml"
        )
        card.sh(f"{again}; sync")
        refuses(card, content, words)
    card.sh(f"rm /boot/firmware/flowpi.yaml; {again}; sync")
    assert card.read("flowpi-error.txt") == b""
    assert not any(words in card.sh("flowpi status --json") for words in REFUSED.values())
    assert card.sh("cat /etc/flowpi/flowpi.yaml") == as_it_came
    assert "kitchen" not in as_it_came
    assert card.run("ls /etc/wpa_supplicant/wpa_supplicant-wlan0.conf").code != 0
    assert card.sh("systemctl --failed --no-legend --plain") == ""
    # No key, so nobody listens.
    assert card.run("systemctl is-active ssh").code != 0


def test_the_watchdog_is_armed(card: Card) -> None:
    card.switch_on()
    card.wait_for_reset()
