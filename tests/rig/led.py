"""`python -m tests.rig.led FILE OPTIONS`: `flowpi run OPTIONS` with an LED that records what it shows."""

import sys
import time

from flowpi.appliance.daemon import run
from flowpi.cli import main as cli
from flowpi.config.loading import load
from flowpi.config.schema import Config
from flowpi.host.systemd import Notifier, setup_logging
from flowpi.panel.led import RecordingLed
from tests.waiting import PATIENCE_S


def main() -> int:
    path, *options = sys.argv[1:]
    arguments = cli.parse(["run", *options])
    setup_logging(2)

    def read() -> Config:
        return load(arguments.config, arguments.overrides)

    if any(option.startswith("cues=") for option in options):
        from flowpi.audio import tones

        # A tone that comes late is not played. However busy the machine is, tests hear each.
        tones.LATE_S = dict.fromkeys(tones.LATE_S, PATIENCE_S)

    with open(path, "a") as file:

        def show(brightness: float) -> None:
            print(time.monotonic(), brightness, file=file, flush=True)

        return run(read(), Notifier(), read, led=RecordingLed(show))


if __name__ == "__main__":
    sys.exit(main())
