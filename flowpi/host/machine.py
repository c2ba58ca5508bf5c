"""Who this appliance is: its name, and what stays the same under another name."""

import os
import socket
from pathlib import Path

from flowpi.config.schema import Config
from flowpi.host import paths

MACHINE_ID = Path("/etc/machine-id")

APPLICATION = b"flowpi"


def device_id(config: Config) -> str:
    """Return the name of this appliance."""
    return config.device_id or socket.gethostname()


def appliance_serial(path: Path = MACHINE_ID) -> str | None:
    """Return 16 letters that no other flowpi has, or None if the machine has no id.

    machine-id(5) wants the id itself to stay on the machine, so this is a hash of it. Of two daemons on one machine,
    one has another state directory than usual, which is in the hash then.
    """
    import hashlib  # not before READY: a daemon without MQTT never needs it
    import hmac

    try:
        machine = path.read_bytes().strip()
    except OSError:
        return None
    if len(machine) != 32:  # empty, or "uninitialized" during a first boot
        return None
    state = paths.state_directory()
    usual = state in (paths.SYSTEM_STATE, paths.usual_state_directory())
    return hmac.new(machine, APPLICATION if usual else APPLICATION + os.fsencode(state), hashlib.sha256).hexdigest()[
        :16
    ]
