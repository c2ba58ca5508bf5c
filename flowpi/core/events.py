"""The events that happen to the appliance, in the past tense, and the effects that it asks for, as imperatives.

All are `msgspec.Struct`: a dataclass costs 0.8 ms each at import, and a press must not wait for that.
"""

from msgspec import Struct


class Started(Struct, frozen=True):
    """Everything that a dictation needs has been opened, or is known to be missing (then a fault stands)."""


class ButtonPressed(Struct, frozen=True):
    """The button was pressed.

    `utterance`: the id to use if this press begins an utterance.
    `again`: whether it follows a tap within `button.double_ms`.
    `profile`: the profile to which this button belongs; None: the gesture chooses.
    """

    utterance: str
    again: bool = False
    profile: str | None = None


class ButtonReleased(Struct, frozen=True):
    """The button was released. `tap`: whether the press was shorter than `button.hold_ms`."""

    tap: bool


class DoubleTapped(Struct, frozen=True):
    """The second tap of two has ended; its press and its release were reported before."""


class LongPressed(Struct, frozen=True):
    """The current press has lasted for `button.long_s`."""


class StartCommanded(Struct, frozen=True):
    """A client asked to start recording. `utterance`, `profile`: those of the utterance, if that begins one."""

    utterance: str
    profile: str | None = None


class StopCommanded(Struct, frozen=True):
    """A client asked to end the recording."""


class ToggleCommanded(Struct, frozen=True):
    """A client asked to start or end recording. `utterance` and `profile` as for `StartCommanded`."""

    utterance: str
    profile: str | None = None


class CancelCommanded(Struct, frozen=True):
    """A client asked to cancel the recording, or the text that is awaited."""


class TextDelivered(Struct, frozen=True):
    """The text of all parts of this utterance is published, and safe in the transcripts."""

    utterance: str


class DeliveryDeferred(Struct, frozen=True):
    """No backend has returned a text; the audio is kept, and the text comes later."""

    utterance: str


class DeliveryGivenUp(Struct, frozen=True):
    """This utterance will have no text: the user dropped it, or it contained only digital silence."""

    utterance: str


class FaultRaised(Struct, frozen=True):
    """Something is wrong from now on. Raising a code again replaces its message."""

    code: str
    message: str


class FaultCleared(Struct, frozen=True):
    """A fault is over. Harmless if it does not stand."""

    code: str


class DeadlinePassed(Struct, frozen=True):
    """The deadline of the state has passed."""


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
    """Keep the audio from the pre-roll on, and begin to deliver it.

    `profile`: that of the utterance; None: none. `choosing`: another one may be chosen, until `ChooseProfile`.
    """

    utterance: str
    profile: str | None = None
    choosing: bool = False


class ChooseProfile(Struct, frozen=True):
    """The gesture has chosen the profile of an utterance.

    `choosing`: it may still be another one.
    """

    utterance: str
    profile: str | None
    choosing: bool = False


class BeginPart(Struct, frozen=True):
    """Continue the recording in its next part without a gap, from the first pause on, or at the latest from `by` on.

    `by`: seconds of the clock of `step`.
    """

    utterance: str
    part: int
    by: float


class StopRecording(Struct, frozen=True):
    """Record until the post-roll is over; then the audio is complete."""

    utterance: str


class TellLate(Struct, frozen=True):
    """Report that there is no text yet: the audio is kept, and the text comes later."""

    utterance: str


class DropUtterance(Struct, frozen=True):
    """Delete the audio and publish no text: the user cancelled it."""

    utterance: str


class Mute(Struct, frozen=True):
    """Close the microphone, until `Unmute`."""


class Unmute(Struct, frozen=True):
    """Open the microphone again."""


class Refuse(Struct, frozen=True):
    """Report that nothing was begun. `code` is the code of a fault, "starting" or "recording"."""

    code: str
    message: str


Effect = StartRecording | ChooseProfile | BeginPart | StopRecording | TellLate | DropUtterance | Mute | Unmute | Refuse
