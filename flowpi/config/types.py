"""Types of values that settings of several parts have."""

from typing import Annotated

from msgspec import Meta

Text = Annotated[str, Meta(min_length=1)]
Words = Annotated[tuple[Text, ...], Meta(min_length=1)]
