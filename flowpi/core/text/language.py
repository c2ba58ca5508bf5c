"""What the rules know of a language. The tables are data, `flowpi/data/text/LANGUAGE.toml`, and are read elsewhere."""

from collections.abc import Collection

from msgspec import Struct


class Breaks(Struct, frozen=True, forbid_unknown_fields=True):
    """The spoken commands for a new line and a new paragraph."""

    line: tuple[str, ...]
    paragraph: tuple[str, ...]


class Language(Struct, frozen=True, forbid_unknown_fields=True):
    """The words of one language. All are in lower case.

    `scratch`: the spoken commands that drop the last sentence. `breaks`: see `Breaks`.
    `marks`: a punctuation mark as it is written, with the space before it where the language has one, and the spoken
        commands for it.
    `small`: words that are written with a small letter unless they begin a sentence.
    `abbreviations`: words behind which a full stop does not end a sentence.
    `fillers`: sounds that mean nothing. `stutters`: words that nobody means to say twice in a row.
    `starts`: words that begin a phrase which nobody means to say twice in a row.
    `negations`: words that turn the sense of a sentence round.
    `refusals`: how a language model begins when it does something else than it was asked to.
    """

    scratch: tuple[str, ...]
    breaks: Breaks
    marks: dict[str, tuple[str, ...]]
    small: frozenset[str]
    abbreviations: frozenset[str]
    fillers: frozenset[str]
    stutters: frozenset[str]
    starts: frozenset[str]
    negations: frozenset[str]
    refusals: tuple[str, ...]


def language_of(tag: str | None, known: Collection[str]) -> str | None:
    """Return the language of the rules for a text, or None if none of the known ones fits.

    Args:
        tag: the language that the recogniser reports, such as `en` or `de-AT`; None, as by some services, is English.
    """
    language = (tag or "en").replace("_", "-").partition("-")[0].lower()
    return language if language in known else None
