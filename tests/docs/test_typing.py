"""The document on typing names every layout, and what is typed for what."""

from flowpi.core.typing.names import VARIANTS
from flowpi.core.typing.spelling import REPLACEMENTS
from flowpi.keyboard.layouts import layout
from tests.docs.documents import code, rows, section

DOCUMENT = "docs/typing.md"


def test_every_layout_is_in_the_table_with_its_variants() -> None:
    found = {}
    for names, variants in rows(section(DOCUMENT, "The layout")):
        usual = ("",) if "the usual" in variants else ()
        for name in code(names):
            found[name] = {*usual, *code(variants)}
    assert found == {name: set(variants) for name, variants in VARIANTS.items()}


def test_what_is_typed_for_what_is_as_the_table_says() -> None:
    us = layout("us").table()
    for chars, typed in rows(section(DOCUMENT, "What is typed for what")):
        if not code(typed):  # the head
            continue
        each = chars.split()
        texts = code(typed) if len(code(typed)) > 1 else code(typed) * len(each)
        assert [REPLACEMENTS.get(char, "...") for char in each] == texts
        assert not set(each) & set(us)
