"""The kinds of backends, in one table. `flowpi/backends` has a client for each.

A new kind is a file here with its settings, a file there with its client, and a row in `KINDS`.
"""

from typing import TYPE_CHECKING, NamedTuple, Union

from flowpi.config.backends.flow import FlowSettings
from flowpi.config.backends.settings import BackendSettings
from flowpi.config.backends.suki import SukiSettings


class Kind(NamedTuple):
    """One kind of backend.

    `client`: the module whose `make(name, settings, environment)` returns the `Backend`. It is named and not imported:
    the configuration lies below the clients, and only users of a client should pay for importing it.
    """

    settings: type[BackendSettings]
    client: str


KINDS: dict[str, Kind] = {
    "flow": Kind(FlowSettings, "flowpi.backends.flow"),
    "suki": Kind(SukiSettings, "flowpi.backends.suki"),
}
"""The key of each row is what users write in `kind`, the tag of the settings."""

if TYPE_CHECKING:
    AnyBackendSettings = BackendSettings
else:  # for msgspec, which reads the tag to choose
    AnyBackendSettings = Union[tuple(kind.settings for kind in KINDS.values())]  # noqa: UP007


def kind_of(settings: BackendSettings) -> Kind:
    """Return the row for these settings."""
    return next(kind for kind in KINDS.values() if kind.settings is type(settings))
