"""Hands the hook its part of the configuration, because its user must not read the rest: see `host/handover.py`."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from flowpi.config.loading import to_yaml
from flowpi.config.schema import Config
from flowpi.core.errors import FlowpiError
from flowpi.hook.report import SINK
from flowpi.host import handover
from flowpi.host.paths import SOCKET, SYSTEM_RUNTIME

HEAD = "# What `flowpi hook --hand-over` found at the last start of flowpi-hook.\n"


def hand_over(load: Callable[[], Config], directory: Path) -> bool:
    """Put the hook's part of the configuration, or what is wrong with it, in the place of what was there.

    Args:
        load: returns the configuration, or raises FlowpiError.
        directory: its group is that of the hook's user.

    Returns:
        Whether the hook is to start: there is a program to run, or an error to report.

    Raises:
        CannotCreateError: nothing can be written there.
    """
    try:
        config = load()
        publish = config.publish
    except FlowpiError as error:
        handover.write(directory, {handover.ERROR: handover.encoded(error)})
        return True
    if publish.command.run is None:
        handover.write(directory, {})
        return False
    # The path in any case: while the daemon has not made it, it would be looked for among those of the hook's user.
    socket = publish.socket.path or str(SYSTEM_RUNTIME / SOCKET)
    tree = {"socket": {"path": socket}, "command": msgspec.to_builtins(publish.command)}
    # Of the profiles only whose texts the command does not get. Which other sinks they have is not its business.
    profiles: dict[str, object] = {name: {"sinks": []} for name in config.without_sink(SINK)}
    written = to_yaml({"publish": tree, **({"profiles": profiles} if profiles else {})})
    handover.write(directory, {handover.CONFIG: (HEAD + written).encode()})
    return True
