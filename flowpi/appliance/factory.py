"""Makes parts of the appliance from the configuration. What is heavy is imported only where it is wanted."""

from flowpi.audio.source import Source
from flowpi.config.schema import Config
from flowpi.core.appliance import Mode, Rules
from flowpi.core.gestures import Gestures

ENDING_S = 5.0
"""How much longer than `first_result_timeout_s` the appliance shows that it waits for a text."""


def rules(config: Config) -> Rules:
    return Rules(
        Mode(config.button.mode),
        config.dictation.max_utterance_s,
        config.dictation.first_result_timeout_s + ENDING_S,
        config.button.long_s,
    )


def gestures(config: Config) -> Gestures:
    button = config.button
    return Gestures(
        hold_s=button.hold_ms / 1000,
        double_s=button.double_ms / 1000,
        long_s=button.long_s,
        debounce_s=button.debounce_ms / 1000,
    )


def make_source(config: Config) -> Source:
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
        # All of `buffer_ms` is for a machine that stalls; what fills up between two reads comes on top.
        buffer_ms=audio.buffer_ms + max(audio.read_ms, audio.idle_read_ms),
    )
