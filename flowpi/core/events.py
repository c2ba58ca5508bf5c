"""What happens to the appliance, and what it wants done. Past tense for events, imperative for effects.

All are `msgspec.Struct`: a dataclass costs 0.8 ms each at import, and a press must not wait for that.
"""

from msgspec import Struct


class Started(Struct, frozen=True):
    """Everything that a dictation needs has been opened, or is known to be missing (then a fault says so)."""


class ButtonPressed(Struct, frozen=True):
    """`utterance`: the id to use if this press begins one. `again`: it follows a tap within `button.double_ms`."""

    utterance: str
    again: bool = False


class ButtonReleased(Struct, frozen=True):
    """`tap`: the press was shorter than `button.hold_ms`."""

    tap: bool


class DoubleTapped(Struct, frozen=True):
    """The second tap of two has ended; its press and its release were reported before."""


class LongPressed(Struct, frozen=True):
    """The press that goes on has lasted for `button.long_s`."""


class StartCommanded(Struct, frozen=True):
    utterance: str


class StopCommanded(Struct, frozen=True):
    pass


class ToggleCommanded(Struct, frozen=True):
    utterance: str


class CancelCommanded(Struct, frozen=True):
    pass


class TextDelivered(Struct, frozen=True):
    """The text of this utterance, of all its parts, is published, and safe in every place that promises so."""

    utterance: str


class DeliveryDeferred(Struct, frozen=True):
    """No backend gave a text now; the audio is kept, and the text comes later."""

    utterance: str


class DeliveryGivenUp(Struct, frozen=True):
    """No text will come of this utterance: its owner dropped it, or there was nothing but digital silence in it."""

    utterance: str


class FaultRaised(Struct, frozen=True):
    """Raising a code again replaces its message."""

    code: str
    message: str


class FaultCleared(Struct, frozen=True):
    code: str


class DeadlinePassed(Struct, frozen=True):
    """The deadline of the state is over."""


Event = (
    Started
    | ButtonPressed
    | ButtonReleased
    | DoubleTapped
    | LongPressed
    | StartCommanded
    | StopCommanded
    | ToggleCommanded
    | CancelCommanded
    | TextDelivered
    | DeliveryDeferred
    | DeliveryGivenUp
    | FaultRaised
    | FaultCleared
    | DeadlinePassed
)


class StartRecording(Struct, frozen=True):
    """Keep the audio from the pre-roll on, and begin to deliver it."""

    utterance: str


class BeginPart(Struct, frozen=True):
    """Let the recording go on in its next part: from the first pause on, and at the latest from `by` on, without a gap.

    `by` as `now` of the step.
    """

    utterance: str
    part: int
    by: float


class StopRecording(Struct, frozen=True):
    """Keep what comes until the post-roll is over; then the audio is complete."""

    utterance: str


class TellLate(Struct, frozen=True):
    """Say that the text is not there yet: the audio is kept, and the text comes later."""

    utterance: str


class DropUtterance(Struct, frozen=True):
    """Forget the audio and publish no text: its owner cancelled it."""

    utterance: str


class Mute(Struct, frozen=True):
    """Close the microphone, until `Unmute`."""


class Unmute(Struct, frozen=True):
    """Open the microphone again."""


class Refuse(Struct, frozen=True):
    """Nothing was begun. `code` is a fault's code, or "starting"."""

    code: str
    message: str


Effect = StartRecording | BeginPart | StopRecording | TellLate | DropUtterance | Mute | Unmute | Refuse
