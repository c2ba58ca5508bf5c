"""A process that publishes texts by MQTT until it is killed: `python -m tests.publish.mqtt.sender DIRECTORY URL`.

Each number on its standard input is said, and is printed once its text is in the transcripts.
"""

import asyncio
import sys
from pathlib import Path

from flowpi.publish import feeder
from tests.publish.mqtt.station import Station


async def main(directory: Path, url: str) -> None:
    feeder.FIRST_WAIT_S = 0.05
    feeder.LONGEST_WAIT_S = 0.2
    station = Station(directory)
    async with station.run(url):
        await station.ready()
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            await station.say(int(line))
            print(line.strip(), flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
