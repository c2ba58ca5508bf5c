"""Makes the source of sound that the configuration asks for. Each kind is imported only when it is wanted."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flowpi.audio.capture import LONGEST_READ_S, Timing
from flowpi.audio.source import Source
from flowpi.config.schema import Config

if TYPE_CHECKING:
    from flowpi.config.boards import Control


def make_source(config: Config) -> Source:
    audio = config.audio
    if audio.source == "wav":
        from flowpi.audio.wav import WavSource

        assert audio.path is not None
        return WavSource(audio.path, period_ms=audio.period_ms, gain_db=audio.gain_db)
    from flowpi.audio.alsa import AlsaSource

    return AlsaSource(
        audio.device,
        rate_hz=audio.rate,
        channels=audio.channels,
        channel=audio.channel,
        period_ms=audio.period_ms,
        # All of `buffer_ms` is for stalls of the machine; what is buffered between two reads is added to it.
        buffer_ms=audio.buffer_ms + max(audio.read_ms, audio.idle_read_ms, round(LONGEST_READ_S * 1000)),
        gain_db=audio.gain_db,
        controls=_controls(config),
    )


def _controls(config: Config) -> "Sequence[Control]":
    if config.board is None:
        return ()
    from flowpi.config.boards import controls_of

    return controls_of(config.board, config.audio.device)


def timing(config: Config) -> Timing:
    audio = config.audio
    return Timing(
        read_s=audio.read_ms / 1000,
        idle_read_s=audio.idle_read_ms / 1000,
        preroll_s=audio.preroll_ms / 1000,
        postroll_s=audio.postroll_ms / 1000,
    )
