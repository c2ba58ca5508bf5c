"""A file that cannot be used: the error is reported everywhere, and nothing else changes."""

import os
import re

import pytest

from flowpi.cli.main import main
from flowpi.config.addresses import one_of
from flowpi.config.backends import KINDS
from flowpi.core.errors import ConfigError
from flowpi.host import boot_config_status
from flowpi.provision import boot_file
from tests.provision.card import GOOD, SECRETS, Card, meant


def refused(card: Card) -> str:
    """Return the error on the partition, without the text around it."""

    def rest() -> dict[str, bytes]:
        told = {"boot/flowpi-error.txt", "run/refused"}
        return {name: content for name, content in card.tree().items() if name not in told}

    before = rest()
    with pytest.raises(ConfigError) as caught:
        card.provision()
    assert caught.value.exit_code == 78
    assert rest() == before
    assert boot_config_status.read(card.run) == str(caught.value)
    assert card.error is not None
    lines = card.error.split("\r\n")
    assert lines[0] == "flowpi cannot use the configuration on this card, and has changed nothing."
    assert [line.strip() for line in lines[2:4]] == [
        caught.value.message,
        f"What to do: {caught.value.hint or 'Correct it.'}",
    ]
    assert not any(secret in card.error for secret in SECRETS)
    return str(caught.value)


@pytest.mark.parametrize("before", ["", "led: {pin: 22}\n...\n"])
def test_a_file_that_is_cut_off_anywhere_changes_nothing(card: Card, before: str) -> None:
    if before:
        card.leave(before)
        card.provision()
    whole = GOOD.rstrip("\n").encode()
    for length in range(len(whole)):
        with pytest.raises(ConfigError) as caught:
            boot_file.understand(whole[:length], "flowpi.yaml")
        assert not any(secret in str(caught.value) for secret in SECRETS)
        if length % 97 == 0:
            card.leave(whole[:length])
            refused(card)
    card.leave(whole)
    assert card.provision() == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "line 1: is the last line, and no end mark follows: the file may be cut off"),
        (b"led: {pin: 22}\n", "line 1: is the last line, and no end mark follows"),
        (
            b"led: {pin: 22}\n....\n",
            "line 2: is '....', which is not the end mark: write three full stops side by side",
        ),
        (b"led: {pin: 22}\n. . .\n", "line 2: is '. . .', which is not the end mark"),
        (b"led: {pin: 22}\n..\n", "line 2: is '..', which is not the end mark"),
        ("led: {pin: 22}\n\u2026\n".encode(), "line 2: is '\u2026', which is not the end mark"),
        (b"...\nled: {pin: 22}\n...\n", "line 2: is below the end mark"),
        (b"led: {pin: 22}\n...\n\n# more\n", "line 4: is below the end mark"),
        (b"led:\n  pinn: 22\n...\n", "line 2: led.pinn is not a known key: did you mean led.pin?"),
        (b"led:\n  pin: 99\n...\n", "line 2: led.pin must be a whole number from 0 to 27, not 99"),
        (b"led: [\n...\n", "is not YAML"),
        (b"\tled: {}\n...\n", "is not YAML"),
        (b"- led\n...\n", "line 1: is not a mapping of keys to values"),
        (b"led: \xff\n...\n", "line 1: is not UTF-8 text: save it again, with the encoding UTF-8"),
        ("led: {pin: 22}\n...\n".encode("utf-16"), "is UTF-16 text: save it again"),
        ("led: {pin: 22}\n...\n".encode("utf-16-be"), "is UTF-16 text: save it again"),
        (GOOD.encode()[:512].ljust(len(GOOD), b"\0"), "has holes: it was not written to the end: copy it again"),
        (b"{\\rtf1\\ansi led: {pin: 22}}", "is a document with fonts (RTF), not plain text"),
        (b"#" * (256 * 1024 + 1), "is larger than 256 KiB"),
        (b"publish:\n  keyboard: {kind: gadget}\n...\n", "line 2: publish.keyboard.kind must be hid, none or uinput"),
        (b"dictation: {backends: [x]}\n...\n", "line 1: dictation.backends.0 is 'x', which is not in backends"),
        (
            b"backends:\n  x:\n    kind: flow\n    url: wss://h/ws\n    api_key: 'canary\\n'\n    bearer: [\n...\n",
            "is not YAML",
        ),
        (
            b'backends:\n  x:\n    kind: flow\n    url: wss://h/ws\n    api_key: "canary\\nmore"\n...\n',
            "line 5: backends.x.api_key cannot be used (it is not one line of text): put only the secret there",
        ),
        (
            b"backends:\n  x: {kind: flow, url: 'wss://h/ws', api_key: %b}\n...\n" % (b"x" * 65_537),
            "line 2: backends.x.api_key is too long for a secret",
        ),
        (
            b"backends:\n  x:\n    kind: flow\n    url: wss://h/ws\n    api_key: {credential: flowpi_other}\n...\n",
            "line 5: backends.x.api_key is {credential: flowpi_other}, which this appliance does not have",
        ),
        (
            b"backends:\n  x: {kind: flow, url: 'wss://h/ws', api_key: &k abc}\nserver: {api_keys: [*k]}\n...\n",
            "server.api_keys.0 is the same (by *) as backends.x.api_key: the two are kept apart",
        ),
        (
            "backends:\n  x: {kind: flow, url: 'wss://h/ws', api_key: \u201ccanary\u201d}\n...\n".encode(),
            'line 2: backends.x.api_key is in curly quotes, which YAML takes for letters: write straight ones (")',
        ),
        (
            b"backends:\n  x: {kind: flow, url: 'wss://h/ws', api_key: Bearer canary}\n...\n",
            "line 2: backends.x.api_key cannot be used (it begins with the word Bearer): write the key alone",
        ),
        (
            b"backends:\n  x: {kind: flow, url: 'wss://h/ws', api_key: ' '}\n...\n",
            "line 2: backends.x.api_key cannot be used (it is empty): put the secret there",
        ),
        (b"button: {pin: 017}\n...\n", "line 1: button.pin is 017, which YAML reads as 15"),
        ("led:\n\u00a0 pin: 22\n...\n".encode(), "line 2: has an invisible character, U+00A0 (no-break space)"),
        (b"audio: {device: plughw:CARD=Device,DEV=0}\n...\n", "line 1: audio.DEV=0 is not a known key: the value"),
        (b"<!DOCTYPE html>\n<html></html>\n", "line 2: is the last line, and no end mark follows"),
        (b"PK\x03\x04\x14\x00\x06\x00\xff\n", "has holes: it was not written to the end"),
        (b"led: {pin: 22}\n---\n...\n", "is not YAML"),
    ],
)
def test_what_is_wrong_is_said_in_words(card: Card, content: bytes, words: str) -> None:
    card.leave(content)
    said = refused(card)
    assert words in said
    assert "canary" not in said
    assert len(said) < 250


@pytest.mark.parametrize("slip", ["", " ", "\n", ":", "'", '"', "*", "- "])
def test_no_slip_of_the_finger_shows_a_secret(slip: str) -> None:
    """Add or remove one letter anywhere near a secret: no message shows the secret."""
    for secret in SECRETS:
        end = GOOD.index(secret) + len(secret)
        for at in range(GOOD.rindex("\n", 0, end - len(secret) - 8), end + 3):
            for text in (GOOD[:at] + slip + GOOD[at:], GOOD[:at] + slip + GOOD[at + 1 :]):
                said = ""
                try:
                    boot_file.understand(text.encode(), "flowpi.yaml")
                except ConfigError as error:
                    said = str(error)
                assert "canary" not in said
                assert secret[-6:] not in said


def test_a_link_is_not_followed(card: Card) -> None:
    (card.directory / "elsewhere").write_text(GOOD)
    (card.boot / "flowpi.yaml").symlink_to(card.directory / "elsewhere")
    assert "is a folder, or something else that is no file" in refused(card)


def test_a_folder_or_a_pipe_is_no_configuration(card: Card) -> None:
    (card.boot / "flowpi.yaml").mkdir()
    assert "is a folder, or something else that is no file" in refused(card)
    (card.boot / "flowpi.yaml").rmdir()
    os.mkfifo(card.boot / "flowpi.yaml")
    with pytest.raises(ConfigError, match="no file"):
        card.provision()


def test_a_mistake_keeps_what_was_in_force(card: Card) -> None:
    card.leave(GOOD)
    card.provision()
    card.leave(GOOD.replace("kind: flow", "kind: flo"))
    some_kind = one_of(list(KINDS))
    assert f"line 6: backends.cloud.kind must be {some_kind}, not 'flo': did you mean flow?" in refused(card)
    assert card.effective() == meant(GOOD)


def test_a_mistake_of_flowpi_itself_is_told_too(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("canary")

    monkeypatch.setattr(boot_file, "understand", fail)
    card.leave(GOOD)
    with pytest.raises(ZeroDivisionError):
        card.provision()
    assert card.error is not None
    assert "flowpi made a mistake of its own (ZeroDivisionError)" in card.error
    assert boot_config_status.read(card.run) is not None
    assert "canary" not in card.error


def test_the_command_says_it_and_ends_with_78(card: Card, capsys: pytest.CaptureFixture[str]) -> None:
    card.leave("led: {pin: 99}\n...\n")
    assert main(["provision", "--boot", str(card.boot), "--etc", str(card.etc)]) == 78
    said = "flowpi: flowpi.yaml, line 1: led.pin must be a whole number from 0 to 27, not 99\n"
    assert capsys.readouterr() == ("", said)
    assert boot_config_status.read(card.run) is None  # another machine's configuration is nothing to this one's daemon


MEANT = [
    "flowpi.yaml.rtf",
    "Flowpi.YAML.yaml",
    "flowpi-boot.yaml",
    "flowpi-boot (1).yaml",
    "flowpi (1).yaml",
    "flowpi(2).yml",
    "flowpi.yaml (1)",
    "flow-pi.yaml",
    "Flow Pi.yaml",
    "flow_pi.yml",
    "flowpi.conf",
    "flowpi.txt",
    "flowpi",
    "flowpi.yaml~",
    "Copy of flowpi.yaml",
    "flowpi.yaml.yaml.txt",
]
"""Names that a user, an editor or a browser gives to the configuration."""


@pytest.mark.parametrize("name", MEANT)
def test_another_name_that_was_meant_is_told(card: Card, name: str) -> None:
    card.leave(GOOD, name)
    with pytest.raises(ConfigError, match=r"rename it to flowpi\.yaml"):
        card.provision()
    assert name in (card.error or "")
    card.leave(GOOD)
    assert card.provision() == 0, "beside a good one it is left alone"


@pytest.mark.parametrize(
    "name",
    ["._flowpi.yaml", ".flowpi.yaml.swp", "flowpi_0.1.0_arm64.deb", "flowpi.img.xz", "flowpi-taken.yaml", "config.txt"],
)
def test_a_name_that_means_something_else_is_left_alone(card: Card, name: str) -> None:
    card.leave(GOOD, name)
    assert card.provision() == 0
    assert card.error is None


def test_a_folder_is_left_alone(card: Card) -> None:
    (card.boot / "flowpi").mkdir()
    assert card.provision() == 0


def test_two_files_are_one_too_many(card: Card) -> None:
    card.leave(GOOD)
    card.leave(GOOD, "flowpi.yaml.txt")
    hint = "delete the one that you do not mean"
    assert refused(card) == f"flowpi.yaml.txt: is there beside flowpi.yaml: {hint}"


def test_the_note_of_a_mistake_goes_with_the_mistake(card: Card) -> None:
    card.leave("led: {pin: 99}\n...\n")
    refused(card)
    card.leave(GOOD)
    assert card.provision() == 0
    assert (card.error, boot_config_status.read(card.run)) == (None, None)


def test_the_note_of_a_mistake_goes_with_the_file(card: Card) -> None:
    card.leave("led: {pin: 99}\n...\n")
    refused(card)
    (card.boot / "flowpi.yaml").unlink()
    assert card.provision() == 0
    assert (card.error, boot_config_status.read(card.run)) == (None, None)


def test_with_nothing_to_take_over_it_says_so(card: Card, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        assert card.provision() == 0
    assert caplog.messages == [f"nothing to take over at {card.boot}"]


def test_a_user_who_may_not_write_is_told_before_anything_is_changed(
    card: Card, capfd: pytest.CaptureFixture[str]
) -> None:
    card.leave(GOOD)
    before = card.tree()
    here = card.boot.parent
    here.chmod(0o755)
    assert main(["provision", "--boot", str(here / "none")]) == 0  # imports what the other user may not read
    capfd.readouterr()
    child = os.fork()
    if child == 0:  # a process of another user
        code = 1
        try:
            os.chdir(here)  # the folders above it are not for others
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            code = main(["provision", "--boot", "boot", "--etc", "etc"])
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 77
    out, err = capfd.readouterr()
    assert out == ""
    assert re.fullmatch("flowpi: .* is not for this user to write: run it with sudo\n", err)
    assert card.tree() == before


def test_apple_double_files_beside_a_good_one_are_left_alone(card: Card) -> None:
    """macOS writes them to each FAT that it touches."""
    double = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        \x00\x02"
    for name in ("._flowpi.yaml", "._.Trashes", ".DS_Store"):
        card.leave(double, name)
    card.leave(GOOD)
    assert card.provision() == 0
    assert card.error is None
    assert card.effective() == meant(GOOD)
    assert (card.boot / "._flowpi.yaml").read_bytes() == double
