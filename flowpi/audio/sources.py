"""Makes the source of sound that the configuration asks for. Each kind is imported only when it is wanted."""

from flowpi.audio.capture import LONGEST_READ_S, Timing
from flowpi.audio.gain import Amplified
from flowpi.audio.source import Source
from flowpi.config.schema import Config


def make_source(config: Config) -> Source:
    source = _make(config)
    return Amplified(source, config.audio.gain_db) if config.audio.gain_db else source


def _make(config: Config) -> Source:
    audio = config.audio
    if audio.source == "wav":
        from flowpi.audio.wav import WavSource

        assert audio.path is not None
        return WavSource(audio.path, period_ms=audio.period_ms)
    from flowpi.audio.alsa import AlsaSource

    return AlsaSource(
        audio.device,
        rate_hz=audio.rate,
        channels=audio.channels,
        channel=audio.channel,
        period_ms=audio.period_ms,
        # All of `buffer_ms` is for stalls of the machine; what is buffered between two reads is added to it.
        buffer_ms=audio.buffer_ms + max(audio.read_ms, audio.idle_read_ms, round(LONGEST_READ_S * 1000)),
    )


def timing(config: Config) -> Timing:
    audio = config.audio
    return Timing(
        read_s=audio.read_ms / 1000,
        idle_read_s=audio.idle_read_ms / 1000,
        preroll_s=audio.preroll_ms / 1000,
        postroll_s=audio.postroll_ms / 1000,
    )
