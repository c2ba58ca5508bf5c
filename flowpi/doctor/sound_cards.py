"""The check of the sound cards: which there are, and what is known to go wrong with those of a Pi."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from flowpi.audio import cards
from flowpi.audio.cards import USB, Card, card_of
from flowpi.config.boards import CONTROLS, controls_of
from flowpi.config.schema import Config
from flowpi.doctor.findings import Finding, fine

PART = "sound cards"

I2C = Path("/sys/bus/i2c/devices")

V1, V2 = "respeaker-2mic-v1", "respeaker-2mic-v2"

RESPEAKERS = ("respeaker-2mic", V1, V2)

ADDRESSES = {V1: "001a", V2: "0018"}
"""The I2C addresses of the codecs, as sysfs names them: WM8960 and TLV320AIC3104."""

OVERLAYS = {V1: "dtoverlay=wm8960-soundcard", V2: "dtoverlay=respeaker-2mic-v2_0"}

I2S_CARD = "sndrpigooglevoi"

I2S_OVERLAY = "dtoverlay=googlevoicehat-soundcard"

CONFIG_TXT = "/boot/firmware/config.txt"

COMPILED = "its vendor's, which must be compiled: see docs/hardware.md"


class Codec(Struct, frozen=True):
    """A codec of a ReSpeaker as an overlay announces it.

    Attributes:
        board: the revision that has it.
        answers: whether its driver has found it.
    """

    board: str
    answers: bool


def examine(config: Config) -> list[Finding]:
    return list(look(config, cards.cards(), codecs()))


def codecs(i2c: Path = I2C) -> list[Codec]:
    """Return the codecs that an overlay has announced: one that is not on the board is there without its driver."""
    return [
        Codec(board, (device / "driver").exists())
        for board, address in ADDRESSES.items()
        for device in sorted(i2c.glob(f"*-{address}"))
    ]


def look(config: Config, there: Sequence[Card], announced: Sequence[Codec]) -> Iterator[Finding]:
    """Yield what is wrong, and last a list of the cards, if there are any.

    Args:
        config: the configuration.
        there: the sound cards.
        announced: the codecs of a ReSpeaker.
    """
    if config.audio.source == "alsa":
        yield from _of_board(config.board, there, announced)
        yield from _of_name(config.audio.device, there)
        yield from _of_width(config, there)
        yield from _of_mixers(config, there)
    if there:
        recording = ", ".join(_named(card) for card in there if card.captures)
        rest = ", ".join(card.id for card in there if not card.captures)
        yield fine(PART, f"record: {recording or 'none'}; only play: {rest or 'none'}")


def _named(card: Card) -> str:
    return f"{card.device} (or {USB}{card.port})" if card.port else card.device


def _of_board(board: str | None, there: Sequence[Card], announced: Sequence[Codec]) -> Iterator[Finding]:
    """Yield what the overlays have to do with it if a card of the board is missing, or is that of another board."""
    ids = {card.id for card in there}
    answering = {codec.board for codec in announced if codec.answers}
    if board in RESPEAKERS and not ids.intersection(*cards.SAME_BOARD):
        silent = next((codec.board for codec in announced if not codec.answers), None)
        if silent is not None:
            other = V2 if silent == V1 else V1
            what = f"no codec is at the I2C address {ADDRESSES[silent][2:]} of {silent}: the board is {other}"
            source = f" ({COMPILED})" if other == V2 else ""
            hint = f"in {CONFIG_TXT}, replace {OVERLAYS[silent]} by {OVERLAYS[other]}{source}, and restart the Pi"
            yield Finding(PART, "warning", "other_board", what, hint)
        else:
            hint = (
                f"`sudo i2cdetect -y 1` shows which board it is; add to {CONFIG_TXT} dtparam=i2c_arm=on and, for 1a, "
                f"{OVERLAYS[V1]}, or for 18 {OVERLAYS[V2]} ({COMPILED}), and restart the Pi"
            )
            yield Finding(PART, "warning", "no_overlay", f"there is no card of {board}", hint)
    elif board in (V1, V2) and answering and board not in answering:
        (other,) = answering
        yield Finding(PART, "warning", "other_board", f"the board is {other}, not {board}", f"set board: {other}")
    elif board in ("i2s-mic", "aiy-voice-kit") and I2S_CARD not in ids:
        hint = f"add {I2S_OVERLAY} to {CONFIG_TXT} of Raspberry Pi OS (Debian's kernel has no driver), and restart it"
        yield Finding(PART, "warning", "no_overlay", f"there is no card {I2S_CARD}, which {board} needs", hint)


def _of_name(device: str, there: Sequence[Card]) -> Iterator[Finding]:
    """Yield a finding for a name that may lead to another card after the next boot."""
    name = card_of(device)
    card = next((card for card in there if name in (card.id, str(card.number))), None)
    if card is None or name is None:
        return
    if name == str(card.number) and len(there) > 1:
        what = f"audio.device {device!r} is a number, which another card may have after the next boot"
        yield Finding(PART, "warning", "unstable", what, f"set audio.device: {card.device}")
        return
    twins = [one for one in there if one.captures and _kind(one) == _kind(card) and one.port]
    if len(twins) > 1:
        what = f"{' and '.join(one.id for one in twins)} are equal, and have their names by the order of plugging"
        yield Finding(PART, "warning", "unstable", what, f"set audio.device: {USB}{card.port}, the port")


def _kind(card: Card) -> str:
    """Return the id without the number that the kernel adds to the second of its kind."""
    return re.sub(r"_\d+$", "", card.id)


def _of_width(config: Config, there: Sequence[Card]) -> Iterator[Finding]:
    audio, is_i2s = config.audio, card_of(config.audio.device) == I2S_CARD
    if not is_i2s or config.board == "aiy-voice-kit" or all(card.id != I2S_CARD for card in there):
        return
    if audio.device.startswith("plughw:") or audio.channel == "mix":
        what = "an I2S microphone speaks in the low bits of one channel, which are cut off, or halved by the mix"
        yield Finding(PART, "warning", "narrowed", what, "set board: i2s-mic, and remove `device` from audio")


def _of_mixers(config: Config, there: Sequence[Card]) -> Iterator[Finding]:
    from flowpi.audio.mixer import as_after_boot

    for card in there:
        of_respeaker = any(card.id in ids for ids in cards.SAME_BOARD)
        closed = as_after_boot(f"hw:{card.id}", CONTROLS["respeaker-2mic"]) if of_respeaker else []
        if closed:
            what = f"{card.id} is nearly deaf, as after a boot: {', '.join(closed)}"
            hint = "set board: respeaker-2mic, which opens its input"
            if controls_of(config.board, config.audio.device):
                hint = "sudo systemctl restart flowpi"
            elif config.board in RESPEAKERS:
                hint = "remove `device` from audio, so that flowpi hears with the board and opens its input"
            yield Finding(PART, "warning", "mute_codec", what, hint)
