"""What an attempt produced: a text, the backend that gave it, and the times."""

from msgspec import Struct

from flowpi.audio.utterance import Utterance
from flowpi.wire.roles import FinalText


class Timings(Struct):
    """The monotonic seconds at which things happened in an attempt; None until they do."""

    audio_at: float | None = None
    """When the sending of audio began."""
    first_packet_at: float | None = None
    committed_at: float | None = None
    final_at: float | None = None


class Recognised(Struct, frozen=True):
    """A text on its way to the sinks."""

    utterance: Utterance
    text: FinalText
    backend: str
    timings: Timings
