"""The tables of the languages, and the rules that a configuration asks for."""

import logging
from collections.abc import Mapping
from functools import cache

import msgspec

from flowpi.config.text import TextSettings
from flowpi.core.text.language import Language
from flowpi.core.text.replacements import Replacements
from flowpi.core.text.rules import Digits, Rules

log = logging.getLogger(__name__)

NAMES = ("en", "de", "fr", "es")

GET_DIGITS = "pip install 'flowpi[digits]'"


@cache
def languages() -> Mapping[str, Language]:
    """Read the tables, once."""
    from importlib import resources

    folder = resources.files("flowpi") / "data" / "text"
    return {name: msgspec.toml.decode((folder / f"{name}.toml").read_bytes(), type=Language) for name in NAMES}


def make_rules(settings: TextSettings) -> Rules:
    """Return the rules for texts. Reads files: call it on a thread."""
    needed = settings.commands or settings.fillers or settings.digits
    return Rules(
        languages() if needed else {},
        commands=settings.commands,
        fillers=settings.fillers,
        digits=_digits() if settings.digits else None,
        replacements=Replacements(settings.replacements),
        ending=settings.ending,
    )


def has_digits() -> bool:
    """Return whether the library for digits is installed."""
    try:
        import text_to_num  # noqa: F401
    except ImportError:
        return False
    return True


def _digits() -> Digits | None:
    """Return the function of `text2num`, or None if that is not installed: texts matter more than their digits."""
    try:
        from text_to_num import alpha2digit
    except ImportError:
        log.warning("text.digits has no effect, text2num is not installed: %s", GET_DIGITS)
        return None
    return lambda text, language: str(alpha2digit(text, language))
