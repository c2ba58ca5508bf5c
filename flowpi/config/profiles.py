"""The settings of a profile: a way of dictating under a name, such as another language or other rules for texts."""

from typing import Annotated

from msgspec import Struct

from flowpi.config.text import TextSettings
from flowpi.config.types import GpioPin, KeyName, Text, Words, setting
from flowpi.core.hints import Hints


class ProfileSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """A way of dictating: what a profile does not name is as without it. See [profiles](profiles.md)."""

    language: Annotated[
        Words | None, setting("instead of the `language` of each backend that speaks Flow, best first")
    ] = None
    backends: Annotated[Words | None, setting("names from `backends`, best first, instead of `dictation.backends`")] = (
        None
    )
    context: Annotated[Hints, setting("over `context`: what is not in it is sent as there")] = Hints()
    text: Annotated[TextSettings | None, setting("all rules for its texts, instead of those in `text`; `{}`: none")] = (
        None
    )
    sinks: Annotated[
        tuple[Text, ...] | None,
        setting(
            "names of the sinks that get its texts, as `flowpi sinks` shows them; `[]`: none. The socket and the "
            "transcripts have all texts"
        ),
    ] = None
    pin: Annotated[
        GpioPin | None, setting("for `button.kind: gpio`: BCM number of a second button, whose presses choose it")
    ] = None
    key: Annotated[
        KeyName | None, setting("for `button.kind: evdev`: another key of the device, whose presses choose it")
    ] = None
