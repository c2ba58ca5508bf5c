"""The settings of `flowpi keyboard`, which types each text as a keyboard."""

from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Struct

from flowpi.config.types import Text, setting


class KeyboardSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """A keyboard that types each text, by `flowpi-keyboard.service`: see [typing](typing.md)."""

    kind: Annotated[
        Literal["none", "uinput", "hid"],
        setting(
            "`uinput`: types into this machine; `hid`: into the computer at the USB cable; `none`: no typing",
            applied="keyboard",
        ),
    ] = "none"
    layout: Annotated[
        Text | None,
        setting(
            "the keyboard layout of the computer that is typed into, as Linux names it: `us`, `gb`, `de`; null, for "
            "`uinput`: that of this machine",
            applied="keyboard",
        ),
    ] = None
    variant: Annotated[Text | None, setting("its variant, as in `dvorak`; null: the usual one", applied="keyboard")] = (
        None
    )
    host: Annotated[
        Literal["linux", "other"],
        setting(
            "what runs on that computer; `other`: only keys that other systems have in the same place",
            applied="keyboard",
        ),
    ] = "linux"
    pace_ms: Annotated[
        int, setting("the time between two changes of keys; more if letters are lost", applied="keyboard", ge=2, le=50)
    ] = 8
    newline: Annotated[
        Literal["space", "enter", "shift-enter"], setting("the key for the end of a line", applied="keyboard")
    ] = "space"
    append: Annotated[str, setting("typed after each text", applied="keyboard", max_length=16)] = " "
    max_age_s: Annotated[
        int,
        setting(
            "a text that ended longer ago is not typed: by then the cursor is elsewhere",
            applied="keyboard",
            ge=1,
            le=3600,
        ),
    ] = 30
    unicode: Annotated[
        Literal["off", "linux", "windows", "mac"],
        setting(
            "how to type a character that the layout does not have by its number; the computer must be set up for it; "
            "`off`: type one like it",
            applied="keyboard",
        ),
    ] = "off"

    def contradictions(self) -> Iterator[tuple[tuple[str, ...], str, str]]:
        """Yield key, problem and hint of each value that cannot be used."""
        if self.kind == "none":
            return
        if self.layout is not None:
            from flowpi.core.typing.names import fault

            if wrong := fault(self.layout, self.variant or ""):
                yield (wrong.key,), wrong.problem, wrong.hint
        elif self.kind == "hid":
            hint = "name that of the computer at the cable, such as us, gb or de"
            yield ("layout",), "is missing, and publish.keyboard.kind hid needs it", hint
        elif self.variant is not None:
            yield ("layout",), "is missing, and publish.keyboard.variant needs it", "name the layout too"
        if self.kind == "uinput" and self.host != "linux":
            yield ("host",), "is 'other', and uinput types into this machine, which runs Linux", "remove it"
        elif self.unicode != "off" and (self.unicode == "linux") != (self.host == "linux"):
            hint = "remove it" if self.unicode == "linux" else "set publish.keyboard.host to other"
            yield ("unicode",), f"is {self.unicode!r}, and publish.keyboard.host is {self.host!r}", hint
