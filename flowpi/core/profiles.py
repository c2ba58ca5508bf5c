"""Which profile a press of the button chooses, by its gesture. A profile is a way of dictating, under a name.

The recording begins with the press, before anybody knows the gesture: `Rules.choose_s` is how long the choice may last.
"""

from msgspec import Struct


class GestureProfiles(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The profile of each gesture that begins a dictation; None: that gesture chooses none.

    Attributes:
        hold: of a press to talk.
        tap: of a press that begins a recording which goes on by itself.
        double: of a second press soon after a tap, whether it is a tap too or held.
    """

    hold: str | None = None
    tap: str | None = None
    double: str | None = None
