"""The microphone of the appliance: the capture that `audio` asks for, and what becomes of its reports."""

from flowpi.appliance.inbox import Inbox
from flowpi.appliance.utterances import Utterances
from flowpi.audio import sources
from flowpi.audio.capture import Capture
from flowpi.audio.cue_mask import CueMask
from flowpi.config.schema import Config
from flowpi.core import topics
from flowpi.core.errors import MicrophoneError
from flowpi.core.faults import MICROPHONE, QUIET, SILENCE
from flowpi.dsp.level import Level
from flowpi.publish.hub import Hub

NO_NOISE = (
    "the microphone gives digital silence, without even noise: look for a mute switch, a loose cable, "
    "an input gain of zero, or a wrong audio.channel"
)

TOO_QUIET = (
    "the last dictation was so quiet that words are lost: speak nearer to the microphone, raise its gain by "
    "`flowpi doctor --calibrate`, or set audio.gain_db"
)


class CaptureAudience:
    """Turns the reports of the capture into faults, levels, and a mark on what is being recorded."""

    def __init__(self, inbox: Inbox, utterances: Utterances, hub: Hub) -> None:
        self._inbox = inbox
        self._utterances = utterances
        self._hub = hub

    def lost(self, error: MicrophoneError) -> None:
        self._inbox.raise_fault(MICROPHONE, str(error))

    def recovered(self) -> None:
        self._inbox.clear_fault(MICROPHONE)

    def silent(self, silent: bool) -> None:
        if silent:
            for utterance in self._utterances.growing():
                utterance.partial = True  # the speaker went on, and was not heard
            self._inbox.raise_fault(SILENCE, NO_NOISE)
        else:
            self._inbox.clear_fault(SILENCE)

    def quiet(self, quiet: bool) -> None:
        if quiet:
            self._inbox.raise_fault(QUIET, TOO_QUIET)
        else:
            self._inbox.clear_fault(QUIET)

    def level(self, level: Level) -> None:
        self._hub.publish(topics.LEVEL, level)


class AudioComponent:
    """Makes the capture, and replaces its source at a reload.

    Attributes:
        capture: the same object for the whole run.
    """

    def __init__(self, config: Config, audience: CaptureAudience, mask: CueMask) -> None:
        self._settings = config.audio
        self._audience = audience
        self.capture = Capture(
            sources.make_source(config),
            sources.timing(config),
            on_fault=audience.lost,
            on_recovery=audience.recovered,
            on_silence=audience.silent,
            on_level=audience.level,
            on_quiet=audience.quiet,
            mask=mask,
        )

    async def apply(self, config: Config) -> None:
        """Use another source if `audio` changed."""
        if config.audio == self._settings:
            return
        self._settings = config.audio
        # What was wrong with the old source is over; the new one reports for itself.
        self._audience.recovered()
        self._audience.silent(False)
        self._audience.quiet(False)
        self.capture.replace(sources.make_source(config), sources.timing(config))
