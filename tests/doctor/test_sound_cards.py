"""The check of the sound cards: each trap of a Pi, and the line that gets out of it."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from flowpi.audio.cards import Card
from flowpi.audio.mixer import as_after_boot
from flowpi.config.boards import Control
from flowpi.config.loading import load
from flowpi.doctor import sound_cards as doctor
from flowpi.doctor.findings import Finding
from flowpi.doctor.sound_cards import V1, V2, Codec
from tests.rig.microphone import Microphone
from tests.rig.mixer import WM8960, Mixer

HDMI = Card(0, "vc4hdmi0", False)
USB = Card(1, "Device", True, "1-1.2")
TWIN = Card(2, "Device_1", True, "1-1.3")
I2S = Card(1, "sndrpigooglevoi", True)
RESPEAKER = Card(1, "seeed2micvoicec", True)


def found(*settings: str, there: Sequence[Card] = (), announced: Sequence[Codec] = ()) -> list[Finding]:
    """Return the findings but for the list of cards."""
    return [one for one in doctor.look(load(None, settings), there, announced) if one.level != "ok"]


def only(*settings: str, there: Sequence[Card] = (), announced: Sequence[Codec] = ()) -> Finding:
    (finding,) = found(*settings, there=there, announced=announced)
    assert (finding.part, finding.level) == ("sound cards", "warning")
    return finding


def test_the_cards_are_listed_with_id_and_port() -> None:
    (finding,) = doctor.look(load(None, ["audio.device=usb:1-1.2"]), [HDMI, USB, TWIN], [])
    assert finding == Finding(
        "sound cards",
        "ok",
        "works",
        "record: plughw:CARD=Device (or usb:1-1.2), plughw:CARD=Device_1 (or usb:1-1.3); only play: vc4hdmi0",
    )
    assert list(doctor.look(load(), [], [])) == []
    (finding,) = doctor.look(load(), [HDMI], [])
    assert finding.message == "record: none; only play: vc4hdmi0"


@pytest.mark.parametrize("device", ["plughw:1", "hw:1,0", "plughw:CARD=1"])
def test_a_number_is_no_name(device: str) -> None:
    finding = only(f"audio.device={device}", there=[HDMI, USB])
    assert (finding.code, finding.hint) == ("unstable", "set audio.device: plughw:CARD=Device")
    assert found(f"audio.device={device}", there=[USB]) == []  # no other card, no other number


@pytest.mark.parametrize(("device", "port"), [("Device", "1-1.2"), ("Device_1", "1-1.3")])
def test_of_two_equal_microphones_the_port_is_the_name(device: str, port: str) -> None:
    finding = only(f"audio.device=plughw:CARD={device}", there=[HDMI, USB, TWIN])
    assert (finding.code, finding.hint) == ("unstable", f"set audio.device: usb:{port}, the port")
    assert found("audio.device=plughw:CARD=Device", there=[HDMI, USB]) == []


@pytest.mark.parametrize(
    "settings", [("audio.device=plughw:CARD=sndrpigooglevoi",), ("board=i2s-mic", "audio.channel=mix")]
)
def test_the_low_bits_of_an_i2s_microphone(settings: tuple[str, ...]) -> None:
    finding = only(*settings, there=[HDMI, I2S])
    assert finding.code == "narrowed"
    assert finding.hint.startswith("set board: i2s-mic")
    assert found("board=i2s-mic", there=[HDMI, I2S]) == []
    assert found("board=aiy-voice-kit", there=[HDMI, I2S]) == []  # the same card with two louder microphones


@pytest.mark.parametrize("board", ["i2s-mic", "aiy-voice-kit"])
def test_an_i2s_card_that_no_overlay_has_made(board: str) -> None:
    finding = only(f"board={board}", there=[HDMI])
    assert (finding.code, finding.hint.split()[1]) == ("no_overlay", "dtoverlay=googlevoicehat-soundcard")


def test_a_respeaker_without_an_overlay() -> None:
    finding = only("board=respeaker-2mic", there=[HDMI])
    assert finding.code == "no_overlay"
    assert "for 1a, dtoverlay=wm8960-soundcard, or for 18 dtoverlay=respeaker-2mic-v2_0" in finding.hint


def test_a_respeaker_with_the_overlay_of_the_other_revision() -> None:
    finding = only("board=respeaker-2mic", there=[HDMI], announced=[Codec(V1, answers=False)])
    assert finding.code == "other_board"
    assert finding.message.endswith("the board is respeaker-2mic-v2")
    assert "replace dtoverlay=wm8960-soundcard by dtoverlay=respeaker-2mic-v2_0 (its vendor's" in finding.hint
    finding = only("board=respeaker-2mic", there=[HDMI], announced=[Codec(V2, answers=False)])
    assert "replace dtoverlay=respeaker-2mic-v2_0 by dtoverlay=wm8960-soundcard, and restart" in finding.hint


def test_a_respeaker_of_the_other_revision() -> None:
    finding = only(f"board={V1}", there=[RESPEAKER], announced=[Codec(V2, answers=True)])
    assert (finding.code, finding.hint) == ("other_board", f"set board: {V2}")
    for board in ("respeaker-2mic", V2):
        assert found(f"board={board}", there=[RESPEAKER], announced=[Codec(V2, answers=True)]) == []


def test_codecs_as_sysfs_shows_them(tmp_path: Path) -> None:
    assert doctor.codecs(tmp_path) == []
    (tmp_path / "1-001a").mkdir()
    (tmp_path / "1-0018").mkdir()
    (tmp_path / "1-0018" / "driver").mkdir()
    (tmp_path / "1-0050").mkdir()
    assert doctor.codecs(tmp_path) == [Codec(V1, answers=False), Codec(V2, answers=True)]


def test_a_codec_that_is_mute_as_after_a_boot(microphone: Microphone, monkeypatch: pytest.MonkeyPatch) -> None:
    mixer = Mixer(microphone.config_path, WM8960)
    monkeypatch.setattr("flowpi.audio.mixer.as_after_boot", aliased)
    finding = only("audio.device=plughw:CARD=seeed2micvoicec", there=[RESPEAKER])
    assert finding.code == "mute_codec"
    assert finding.message.endswith("as after a boot: Left Input Mixer Boost, Right Input Mixer Boost, Capture")
    assert finding.hint.startswith("set board: respeaker-2mic")
    assert only("board=respeaker-2mic", there=[RESPEAKER]).hint == "sudo systemctl restart flowpi"
    elsewhere = only("board=respeaker-2mic", "audio.device=hw:1", there=[RESPEAKER])
    assert elsewhere.hint.startswith("remove `device` from audio")
    mixer["Capture Switch"] = (1, 1)
    mixer["Capture Volume"] = (30, 30)
    mixer["Left Input Mixer Boost Switch"] = mixer["Right Input Mixer Boost Switch"] = (1,)
    assert found("board=respeaker-2mic", there=[RESPEAKER]) == []


def aliased(mixer: str, controls: Sequence[Control]) -> list[str]:
    """Look at the mixer of the rig, which no card has."""
    assert mixer == "hw:seeed2micvoicec"
    return as_after_boot("codec", controls)
