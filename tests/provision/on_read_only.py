"""`python -m tests.provision.on_read_only`: a boot partition that cannot be written to, then can; what came of it.

Meanwhile the user edits the configuration that is in force.
"""

import io
import json
import logging
import sys
import tempfile
from pathlib import Path

from flowpi.core.errors import FlowpiError
from flowpi.host import boot_config_status
from tests.provision.card import GOOD, Card
from tests.rig.disks import memory, sh


def main() -> list[object]:
    said: list[object] = []
    log = io.StringIO()
    logging.basicConfig(stream=log, level=logging.WARNING)
    with tempfile.TemporaryDirectory() as directory, memory(Path(directory, "boot")) as boot:
        card = Card(Path(directory))
        card.leave(GOOD)
        for access in ("ro", "ro", "rw"):
            sh("mount", "-o", f"remount,{access}", boot)
            try:
                card.provision()
                code = 0
            except FlowpiError as error:
                code = error.exit_code
            said.append([code, sorted(path.name for path in boot.iterdir()), card.config])
            with (card.etc / "flowpi.yaml").open("a") as file:
                file.write("# edited\n")
        said.append([card.taken, sorted(path.name for path in card.etc.iterdir())])
        said.append([log.getvalue().replace(directory, "CARD").splitlines(), boot_config_status.read(card.run)])
    return said


if __name__ == "__main__":
    json.dump(main(), sys.stdout)
