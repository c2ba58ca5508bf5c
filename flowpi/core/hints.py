"""What a recogniser may be told about a dictation besides its sound: terms and names, the user, the text around it.

Hints belong to the domain. Each dialect that can use them makes its own message of them (`flowpi/wire`); a backend that
cannot ignores them. The encoded names are those of `context` in the configuration, in a command of the local socket and
in a file of the spool. They are older than these types, and must stay.
"""

from typing import Literal

from msgspec import Struct, field
from msgspec.structs import replace


class _Hint(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A hint that is not given is absent from the encoded form."""


class TargetApp(_Hint, frozen=True):
    """The application that will receive the text."""

    name: str | None = None
    kind: Literal["email", "ai", "other"] | None = field(default=None, name="type")


class SurroundingText(_Hint, frozen=True):
    """The text around the cursor; it helps with casing and spacing."""

    before: str | None = field(default=None, name="before_text")
    selected: str | None = field(default=None, name="selected_text")
    after: str | None = field(default=None, name="after_text")


class DialogueTurn(_Hint, frozen=True):
    """One message of a dialogue."""

    role: Literal["user", "human", "assistant"]
    text: str = field(name="content")


class Dialogue(_Hint, frozen=True):
    """The conversation that the dictation is part of."""

    id: str | None = None
    participants: tuple[str, ...] = ()
    turns: tuple[DialogueTurn, ...] = field(default=(), name="messages")


class Hints(_Hint, frozen=True):
    """What a recogniser may know about a dictation."""

    app: TargetApp | None = None
    terms: tuple[str, ...] = field(default=(), name="dictionary_context")
    """Words and names to expect."""
    user_id: str | None = field(default=None, name="user_identifier")
    """How the service knows the user."""
    first_name: str | None = field(default=None, name="user_first_name")
    last_name: str | None = field(default=None, name="user_last_name")
    around: SurroundingText | None = field(default=None, name="textbox_contents")
    screenshot: bytes | None = None
    """An image, in whatever format the service understands."""
    page_text: str | None = field(default=None, name="content_text")
    """The text of the page or document that the dictation is for."""
    page_html: str | None = field(default=None, name="content_html")
    dialogue: Dialogue | None = field(default=None, name="conversation")

    def over(self, other: "Hints") -> "Hints":
        """Return these hints, completed by `other` where they are not given."""
        given = {name: value for name in self.__struct_fields__ if (value := getattr(self, name))}
        return replace(other, **given)
