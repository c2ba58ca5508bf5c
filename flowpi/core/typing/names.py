"""The names of the keyboard layouts, as Linux has them (`localectl list-x11-keymap-layouts`), and the check of one.

`layouts/make.py` makes a table for each of `VARIANTS`.
"""

from typing import NamedTuple

from flowpi.core.errors import LayoutError
from flowpi.core.nearest import nearest

VARIANTS = {
    "al": ("",),
    "at": ("", "nodeadkeys", "mac"),
    "au": ("",),
    "ba": ("",),
    "be": ("", "nodeadkeys", "oss", "iso-alternate"),
    "br": ("", "nodeadkeys", "thinkpad", "dvorak", "nativo"),
    "ca": ("", "eng", "fr-dvorak", "fr-legacy", "multix"),
    "ch": ("", "de_nodeadkeys", "de_mac", "fr", "fr_nodeadkeys", "fr_mac", "legacy"),
    "cn": ("",),
    "cz": ("", "bksl", "qwerty", "qwerty_bksl", "dvorak-ucw"),
    "de": (
        *("", "nodeadkeys", "deadacute", "deadgraveacute", "deadtilde"),
        *("dvorak", "e1", "e2", "mac", "neo", "qwerty", "us"),
    ),
    "dk": ("", "nodeadkeys", "dvorak", "mac", "winkeys"),
    "ee": ("", "nodeadkeys", "dvorak", "us"),
    "es": ("", "nodeadkeys", "ast", "cat", "deadtilde", "dvorak", "mac", "winkeys"),
    "fi": ("", "nodeadkeys", "classic", "mac", "winkeys"),
    "fr": ("", "nodeadkeys", "afnor", "azerty", "bepo", "bepo_afnor", "latin9", "mac", "oss", "oss_nodeadkeys", "us"),
    "gb": ("", "colemak", "colemak_dh", "dvorak", "extd", "intl", "mac"),
    "hr": ("", "alternatequotes", "us"),
    "hu": ("", "nodeadkeys", "qwerty", "standard"),
    "id": ("",),
    "ie": ("", "CloGaelach"),
    "is": ("", "dvorak", "mac"),
    "it": ("", "nodeadkeys", "intl", "mac", "us", "winkeys"),
    "jp": ("", "dvorak", "OADG109A"),
    "kr": ("",),
    "latam": ("", "nodeadkeys", "deadtilde", "dvorak", "colemak"),
    "lt": ("", "std", "us"),
    "lv": ("", "apostrophe", "modern", "tilde"),
    "md": ("",),
    "me": ("",),
    "mt": ("", "us"),
    "nl": ("", "mac", "std", "us"),
    "no": ("", "nodeadkeys", "colemak", "dvorak", "winkeys"),
    "ph": ("",),
    "pl": ("", "dvorak", "legacy", "qwertz"),
    "pt": ("", "nodeadkeys", "mac", "nativo"),
    "ro": ("", "std", "winkeys"),
    "rs": ("latin", "latinyz"),
    "se": ("", "nodeadkeys", "dvorak", "mac", "svdvorak", "us"),
    "si": ("", "us"),
    "sk": ("", "bksl", "qwerty", "qwerty_bksl"),
    "tr": ("", "alt", "f"),
    "tw": ("",),
    "us": (
        *("", "alt-intl", "altgr-intl", "euro", "intl", "norman", "workman", "workman-intl"),
        *("colemak", "colemak_dh", "colemak_dh_iso", "dvorak", "dvorak-intl", "dvorak-l", "dvorak-r", "dvp"),
    ),
    "za": ("",),
}
"""The variants of each layout that there is a table for; the empty one is the layout itself. All type ASCII."""

NOT_LATIN = {
    *(
        "af",
        "am",
        "ara",
        "bd",
        "bg",
        "brai",
        "bt",
        "by",
        "et",
        "ge",
        "gn",
        "gr",
        "il",
        "in",
        "iq",
        "ir",
        "jv",
        "kg",
        "kh",
    ),
    *("kz", "la", "lk", "ma", "mk", "mm", "mn", "mv", "my", "np", "pk", "rs", "ru", "sy", "th", "tj", "tz", "ua", "uz"),
}
"""The layouts that have no Latin letters, without a variant."""


class Fault(NamedTuple):
    """What is wrong with a choice. `key`: layout or variant."""

    key: str
    problem: str
    hint: str


def fault(name: str, variant: str) -> Fault | None:
    """Return why there is no table of a layout, or None if there is one. `variant` is empty for the usual one."""
    variants = VARIANTS.get(name, ())
    if variant in variants:
        return None
    named = [known for known in variants if known]
    if name in NOT_LATIN and (not variants or not variant):
        hint = (
            f"choose a variant: {', '.join(named)}" if named else "name the Latin one that the computer has beside it"
        )
        return Fault("layout", f"is {name!r}, which has no Latin letters", hint)
    if not variants:
        return Fault("layout", f"is {name!r}, which flowpi does not know", nearest(name, VARIANTS))
    hint = nearest(variant, named) if named else "leave it out"
    return Fault("variant", f"is {variant!r}, which flowpi does not know of {name!r}", hint)


def check(name: str, variant: str) -> None:
    """Raise LayoutError if there is no table of a layout."""
    if wrong := fault(name, variant):
        problem = wrong.problem if wrong.key == "layout" else f"has a variant that {wrong.problem}"
        raise LayoutError(name, variant, problem, wrong.hint)
