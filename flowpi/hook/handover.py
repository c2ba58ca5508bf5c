"""Hands the hook its part of the configuration, because its user must not read the rest: see `host/handover.py`."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from flowpi.config.loading import to_yaml
from flowpi.config.schema import Config
from flowpi.core.errors import FlowpiError
from flowpi.host import handover

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
        publish = load().publish
    except FlowpiError as error:
        handover.write(directory, {handover.ERROR: handover.encoded(error)})
        return True
    if publish.command.run is None:
        handover.write(directory, {})
        return False
    tree = {"socket": {"path": publish.socket.path}, "command": msgspec.to_builtins(publish.command)}
    handover.write(directory, {handover.CONFIG: (HEAD + to_yaml({"publish": tree})).encode()})
    return True
