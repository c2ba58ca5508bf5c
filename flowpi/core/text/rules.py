"""The rules for texts, in their order: commands and fillers, digits, the user's replacements.

The replacements come last, so that what the user wants to read stays. The rules see a text once, as the recogniser
wrote it; to see it again would change nothing.
"""

from collections.abc import Callable, Mapping
from typing import Literal

from msgspec import Struct

from flowpi.core.text.commands import Commands
from flowpi.core.text.fillers import without_fillers
from flowpi.core.text.language import Language, language_of
from flowpi.core.text.replacements import Replacements

Ending = Literal["none", "space", "newline"]

ENDINGS: Mapping[Ending, str] = {"none": "", "space": " ", "newline": "\n"}

MOST_ROUNDS = 10
"""How often one rule may uncover work for the other in one text. Real texts need two rounds."""

Digits = Callable[[str, str], str]
"""Returns a text of a language with its number words as digits."""


class Rules(Struct, frozen=True):
    """What is done to the texts of one appliance, or of one of its profiles.

    `languages`: the tables by language; a text in another one has no commands, fillers or digits.
    `digits`: None leaves number words as they are.
    """

    languages: Mapping[str, Language] = {}
    commands: bool = False
    fillers: bool = False
    digits: Digits | None = None
    replacements: Replacements = Replacements({})
    ending: Ending = "none"

    def applied(self, text: str, tag: str | None) -> str:
        """Return the edited text, still without its ending. `tag`: the language that the recogniser reports."""
        name = language_of(tag, self.languages)
        if name is not None:
            text = self._of_language(text, self.languages[name])
            text = self.digits(text, name) if self.digits else text
        return self.replacements.applied(text)

    def ended(self, text: str) -> str:
        """Return a text with what is to stand behind it. An empty one stays empty."""
        ending = ENDINGS[self.ending]
        return text if not text or text.endswith(("\n", ending)) or not ending else text.rstrip(" ") + ending

    def _of_language(self, text: str, language: Language) -> str:
        """Apply the rules that only shorten a text, until they find nothing more: one can uncover work for the other.

        A new line in the place of words may leave a filler alone, as a filler may have stood before a command.
        """
        commands = Commands(language)
        for _ in range(MOST_ROUNDS):
            before = text
            if self.fillers:
                text = without_fillers(text, language)
            if self.commands:
                text = commands.applied(text)
            if text == before:
                break
        return text
