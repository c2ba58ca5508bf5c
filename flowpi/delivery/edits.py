"""The editing of a text, between the backend that gave it and the outbox.

A text is edited once, when it comes from a backend. What is held afterwards, because of the disk or of an earlier part,
is the edited text: a language model would not write the same again. The audio is in the spool all the while, so that a
crash here costs nothing but another attempt.
"""

from typing import Protocol

from msgspec.structs import replace

from flowpi.audio.utterance import About
from flowpi.backends.result import Recognised
from flowpi.wire.roles import FinalText


class Editor(Protocol):
    """Edits texts, any number at once."""

    async def edit(self, text: FinalText, about: About, *, late: bool) -> FinalText:
        """Return a text as people are to read it. Never raises for a text, and ends soon. Cancelling is safe.

        `about`: the facts about its utterance. `late`: nobody waits for this text any more.
        """


class NoEditor:
    """Leaves texts as they are."""

    async def edit(self, text: FinalText, about: About, *, late: bool) -> FinalText:
        return text


async def edited(editor: Editor, recognised: Recognised, *, late: bool) -> Recognised:
    """Return what a backend gave, with the text edited. Arguments as for `Editor.edit`."""
    return replace(recognised, text=await editor.edit(recognised.text, recognised.utterance.about, late=late))
