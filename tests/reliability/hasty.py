"""`python -m tests.reliability.hasty HOW FILE OPTIONS`: a daemon that tries its sinks again at once.

`HOW` is `careful`; or `blind`, which neither gives the broker the position of the texts nor asks for it. The tests of a
broker that forgets must detect that, or they prove nothing.
"""

import sys

from flowpi.publish import feeder
from flowpi.publish.mqtt import rivalry
from flowpi.publish.mqtt.sink import MqttSink
from tests.rig import led


def main() -> int:
    how = sys.argv.pop(1)
    feeder.FIRST_WAIT_S = feeder.LONGEST_WAIT_S = 0.1
    rivalry.HOLD_S = 1.0
    if how == "blind":
        del MqttSink.position_there  # without it the sink is none that goes back
    return led.main()


if __name__ == "__main__":
    sys.exit(main())
