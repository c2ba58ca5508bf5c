"""How a container's recogniser has opened its model."""

from flowpi.server.model_files import DECODER, ENCODER
from tests.rig.container import Container

SLOWER = "opened as it is published"
"""What its log has if its own graphs of the model do not open."""

MAPPED = {ENCODER, DECODER}
"""The files of the model that its own graphs map, for the weights. Without the graphs, nothing of a file is mapped."""


def mapped(container: Container) -> set[str]:
    """Return the files of the model that the recogniser maps."""
    maps = container.sh("cat /proc/$(systemctl show --property=MainPID --value flowpi-asr)/maps")
    return {name for name in MAPPED if f"/{name}\n" in maps}
