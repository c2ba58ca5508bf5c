"""Replacements: what was written as it sounds becomes what the user wants to read."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from flowpi.core.text.words import Word, keys, words


class Replacements:
    """A table of written forms, each with the spoken forms that it stands for."""

    def __init__(self, table: Mapping[str, Sequence[str]]) -> None:
        """`table`: the spoken forms by the written one. Case and the kind of apostrophe do not matter in them."""
        forms = {keys(spoken): written for written, spoken_forms in table.items() for spoken in spoken_forms}
        self._written = {form: written for form, written in forms.items() if form}
        self._longest = max(map(len, self._written), default=0)
        # "York" may become "New York", but not the "York" that is in a "New York" already.
        self._kept = [
            form for written in table for form in _cases(written) if any(_holds(form, one) for one in self._written)
        ]

    def applied(self, text: str) -> str:
        """Return the text with each spoken form replaced where it stands as whole words.

        A written form without a capital letter gets the case of what it replaces.
        """
        if not self._written:
            return text
        pieces, copied, at = list[str](), 0, 0
        found = words(text)
        kept = set(self._kept_starts(text, found))
        while at < len(found):
            count = self._length_at(text, found[at : at + self._longest])
            if count and kept.isdisjoint(word.start for word in found[at : at + count]):
                start, end = found[at].start, found[at + count - 1].end
                written = self._written[tuple(word.key for word in found[at : at + count])]
                pieces += text[copied:start], in_case_of(text[start:end], written)
                copied = end
                at += count
            else:
                at += 1
        return "".join([*pieces, text[copied:]])

    def _length_at(self, text: str, found: Sequence[Word]) -> int:
        """Return how many of these words, from the first on, are a spoken form; the most if there are several."""
        for count in range(len(found), 0, -1):
            gaps = (text[one.end : other.start] for one, other in pairwise(found[:count]))
            if tuple(word.key for word in found[:count]) in self._written and all(
                gap.isspace() and "\n" not in gap for gap in gaps
            ):
                return count
        return 0

    def _kept_starts(self, text: str, found: Sequence[Word]) -> Iterator[int]:
        """Yield where each word begins that belongs to a written form which the text has already."""
        starts, ends = {word.start for word in found}, {word.end for word in found}
        for form in self._kept:
            inner, at = words(form), text.find(form)
            while at >= 0:
                if at + inner[0].start in starts and at + inner[-1].end in ends:
                    yield from (at + word.start for word in inner)
                at = text.find(form, at + 1)


def in_case_of(replaced: str, written: str) -> str:
    """Return a written form in the case of what it replaces, unless it has a capital letter of its own."""
    if written != written.lower() or not written[:1].isalpha():
        return written
    if len(replaced) > 1 and replaced.isupper():
        return written.upper()
    return written[:1].upper() + written[1:] if replaced[:1].isupper() else written


def _cases(written: str) -> set[str]:
    """Return all that `in_case_of` makes of a written form."""
    return {in_case_of(replaced, written) for replaced in ("a", "A", "AA")}


def _holds(form: str, spoken: tuple[str, ...]) -> bool:
    """Return whether a spoken form is among the words of a written one."""
    found = keys(form)
    return any(found[at : at + len(spoken)] == spoken for at in range(len(found)))
