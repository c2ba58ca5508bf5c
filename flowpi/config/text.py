"""The settings of what is done to a recognised text."""

from collections.abc import Iterator
from typing import Annotated, Literal
from urllib.parse import urlsplit

from msgspec import Struct

from flowpi.config.addresses import is_near, plain_text_warning, url_problems
from flowpi.config.secret import Secret
from flowpi.config.types import Text, Words, setting

Contradiction = tuple[tuple[str, ...], str, str]
"""Key, problem and hint."""


class RewriteSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """A language model that cleans final texts after the rules: see [texts](text.md#a-language-model)."""

    url: Annotated[
        Text | None,
        setting(
            "a server with the API of OpenAI, such as `http://127.0.0.1:11434/v1` of Ollama; null: none. It gets every "
            "text"
        ),
    ] = None
    model: Annotated[Text | None, setting("its name there, such as `gemma3:4b`")] = None
    api_key: Annotated[Secret | None, setting("a secret, if the server wants one")] = None
    prompt: Annotated[
        Text | None,
        setting(
            "what it is to do; null: correct punctuation, capital letters and slips of the tongue. That it gets "
            "speech, and no question, is added"
        ),
    ] = None
    timeout_s: Annotated[
        float, setting("the text goes on as the rules left it if no answer came by then", ge=0.1, le=30)
    ] = 2

    def contradictions(self) -> Iterator[Contradiction]:
        """Yield key, problem and hint of each value that cannot be used."""
        if self.url is None:
            if self.model is not None or self.api_key is not None:
                yield ("url",), "is missing", "name the server, as http://127.0.0.1:11434/v1, or remove the rest"
            return
        for problem, hint in url_problems(self.url, ("https", "http")):
            yield ("url",), problem, hint
        if self.model is None:
            yield ("model",), "is missing", "name a model that the server has"

    def warnings(self, key: str) -> Iterator[str]:
        """Yield what works but should not stay so. `key`: the dotted key of these settings."""
        if self.url is None or not self.url.startswith("http://"):
            return
        if not is_near(urlsplit(self.url).hostname or ""):
            yield f"{key} sends texts over the internet in plain text: use https://"
        elif self.api_key is not None:
            yield from plain_text_warning(key, self.url, "https")


class TextSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What is done to each final text before it goes anywhere; what the recogniser wrote stays beside it, as `raw`."""

    replacements: Annotated[
        dict[str, Words],
        setting(
            "what to write, and how the recogniser writes that when it hears it: `{GitHub: [git hub, get hub]}`; whole "
            "words, in any case"
        ),
    ] = {}
    commands: Annotated[
        bool,
        setting(
            "true: `full stop`, `comma`, `question mark`, `new line`, `new paragraph`, `scratch that` and the like do "
            "what they say, where they stand alone; English, German, French, Spanish"
        ),
    ] = False
    fillers: Annotated[
        bool, setting("true: leave out `um` and `uh`, and what was begun twice; in the same languages")
    ] = False
    digits: Annotated[
        bool,
        setting(
            "true: numbers as digits, `25` for `twenty five`, in these languages; with pip, the extra `digits` has it"
        ),
    ] = False
    ending: Annotated[
        Literal["none", "space", "newline"],
        setting(
            "what to put behind each text: `none`, `space` or `newline`, so that the next one does not stick to it"
        ),
    ] = "none"
    rewrite: RewriteSettings = RewriteSettings()

    def contradictions(self) -> Iterator[Contradiction]:
        """Yield key, problem and hint of each value that cannot be used."""
        if self.replacements:
            yield from self._contradicting_replacements()
        for place, problem, hint in self.rewrite.contradictions():
            yield ("rewrite", *place), problem, hint

    def _contradicting_replacements(self) -> Iterator[Contradiction]:
        from flowpi.core.text.words import keys  # only who has some pays for the import

        written_by: dict[tuple[str, ...], str] = {}
        for written, forms in self.replacements.items():
            for index, spoken in enumerate(forms):
                key = ("replacements", written, str(index))
                if not _is_words(spoken):
                    hint = "write it as the recogniser does: words with spaces between them"
                    yield key, f"is {spoken[:40]!r}, which is more or less than words", hint
                elif written_by.setdefault(keys(spoken), written) != written:
                    other = written_by[keys(spoken)]
                    yield key, f"is {spoken[:40]!r}, which is replaced by {other[:40]!r} already", "keep one of the two"
        for written in self.replacements:
            other = written_by.get(keys(written), written)
            if other != written:
                problem = f"would itself be replaced by {other[:40]!r}"
                yield ("replacements", written), problem, "name its spoken forms there, or write it in another way"

    def warnings(self, key: str) -> Iterator[str]:
        """Yield what works but should not stay so. `key`: the dotted key of these settings."""
        yield from self.rewrite.warnings(f"{key}.rewrite")


def _is_words(spoken: str) -> bool:
    """Return whether a spoken form consists of words, and of the spaces between them."""
    from flowpi.core.text.words import INNER, words

    found = words(spoken)
    rest = "".join(character for at, character in enumerate(spoken) if not any(w.start <= at < w.end for w in found))
    return bool(found) and not rest.strip(" ") and not any(spoken.endswith(mark) for mark in INNER)
