"""The building blocks of the settings: the description of a key, and the types of values."""

from typing import Annotated, Any, Literal

from msgspec import Meta

from flowpi.core.phrases import LONGEST, MOST

Applied = Literal["reload", "start", "server", "hook", "keyboard"]
"""When a change counts: at the next reload or start of flowpi, or at the next start of another of its services."""


def setting(description: str, *, applied: Applied = "reload", **limits: Any) -> Meta:
    """Describe a key of the configuration, for the JSON Schema, `config/flowpi.yaml` and `docs/configuration.md`.

    Args:
        description: what the key is for, as a phrase in Markdown that follows its name.
        applied: when a change of this key counts; `config/reload.py` obeys.
        limits: of the value, as for `msgspec.Meta`.
    """
    return Meta(description=description, extra={"applied": applied}, **limits)


def expected(phrase: str, **limits: Any) -> Meta:
    """Describe a type of values by the phrase that follows "must be" in an error."""
    return Meta(extra={"expected": phrase}, **limits)


Text = Annotated[str, Meta(min_length=1)]
Words = Annotated[tuple[Text, ...], Meta(min_length=1)]
Phrase = Annotated[str, expected(f"text of 1 to {LONGEST} characters", min_length=1, max_length=LONGEST)]
"""A name or words to listen for."""
Vocabulary = Annotated[
    tuple[Phrase, ...],
    expected(f"a list of at most {MOST} texts of 1 to {LONGEST} characters", max_length=MOST),
]
GpioPin = Annotated[int, Meta(ge=0, le=27)]
"""A BCM number on the header of 40 pins."""
SpiNumber = Annotated[int, Meta(ge=0, le=9)]
"""A number in /dev/spidevBUS.DEVICE."""
Address = Annotated[str, expected("HOST:PORT or unix:PATH", pattern=r"^(unix:.+|\S+:\d{1,5})$")]
KeyName = Annotated[str, expected("a name such as KEY_F13 or BTN_LEFT", pattern=r"^(KEY|BTN)_[A-Z0-9_]+$")]
TimeOfDay = Annotated[str, expected('a time of day in quotes, such as "22:00"', pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
TopicLevel = Annotated[str, expected("a word without / + # and spaces", pattern=r"^[^/+#\s\x00-\x1f]{1,64}$")]

LanguageCode = Annotated[str, expected("an ISO 639-1 code such as en", pattern=r"^[a-z]{2,3}$")]
"""One level of an MQTT topic, without separators and wildcards."""
TopicPrefix = Annotated[
    str,
    expected(
        "levels of an MQTT topic, such as house/desk, without + # and spaces, and with no / at an end",
        pattern=r"^[^/+#$\s\x00-\x1f][^/+#\s\x00-\x1f]*(/[^/+#\s\x00-\x1f]+)*$",
        max_length=128,
    ),
]
"""The first levels of MQTT topics, without wildcards. What begins with `$` belongs to the broker."""
