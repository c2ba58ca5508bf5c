"""Hands a sink its part of the configuration, because its user must not read the rest: see `host/handover.py`."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from flowpi.config.loading import to_yaml
from flowpi.config.schema import Config
from flowpi.core.errors import FlowpiError
from flowpi.host import handover
from flowpi.host.paths import SOCKET, SYSTEM_RUNTIME

HEAD = "# What this sink was handed of the configuration at its last start.\n"


def hand_over(sink: str, load: Callable[[], Config], directory: Path) -> bool:
    """Put a sink's part of the configuration, or what is wrong with it, in the place of what was there.

    Args:
        sink: its name, which is also that of its section in `publish`.
        load: returns the configuration, or raises FlowpiError.
        directory: its group is that of the sink's user.

    Returns:
        Whether the sink is to start: it is configured, or there is an error to report.

    Raises:
        CannotCreateError: nothing can be written there.
    """
    try:
        config = load()
    except FlowpiError as error:
        handover.write(directory, {handover.ERROR: handover.encoded(error)})
        return True
    if sink not in config.sinks:
        handover.write(directory, {})
        return False
    publish = config.publish
    # The path in any case: while the daemon has not made it, it would be looked for among those of the sink's user.
    socket = publish.socket.path or str(SYSTEM_RUNTIME / SOCKET)
    tree = {"socket": {"path": socket}, sink: msgspec.to_builtins(getattr(publish, sink))}
    # Of the profiles only whose texts the sink does not get. Which other sinks they have is not its business.
    profiles: dict[str, object] = {name: {"sinks": []} for name in config.without_sink(sink)}
    written = to_yaml({"publish": tree, **({"profiles": profiles} if profiles else {})})
    handover.write(directory, {handover.CONFIG: (HEAD + written).encode()})
    return True
