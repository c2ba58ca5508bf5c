"""A process with many appliances, of each only its MQTT sink: `python -m tests.publish.mqtt.crowd URL APPLIANCES`.

Each says a text about once a second, whose text is the monotonic time at which it was said, and writes it until the
broker has it; then the next one follows. `standing` is printed each time that the last appliance is connected. When the
standard input ends nothing more is said, and the numbers of texts by `device_id` are printed once the broker has all.
"""

import asyncio
import contextlib
import json
import random
import sys
import time
from collections.abc import Callable

from flowpi.config.mqtt import MqttSettings
from flowpi.core.errors import SinkError
from flowpi.publish.feeder import FIRST_WAIT_S
from flowpi.publish.hub import Message
from flowpi.publish.mqtt.sink import MqttSink
from tests.publish.mqtt.station import IDLE
from tests.publish.test_files import final

EVERY_S = 1.0


class Plain:
    """One appliance."""

    def __init__(self, url: str, name: str, ended: asyncio.Event, connected: Callable[[str, bool], None]) -> None:
        """
        Args:
            ended: set when nothing more is said.
            connected: called with the name, and whether it is connected now.
        """
        self._name = name
        self._sink = MqttSink(MqttSettings(url), name)
        self._ended = ended
        self._connected = connected
        self._said: list[str] = []
        self._written = 0
        self._more = asyncio.Event()

    async def run(self) -> int:
        """Say texts until the end. Return their number once the broker has all."""
        saying = asyncio.create_task(self._say())
        while not (saying.done() and self._written == len(self._said)):
            try:
                await self._publish(saying)
            except SinkError:
                self._connected(self._name, False)
                await asyncio.sleep(FIRST_WAIT_S)
            finally:
                await self._sink.close()
        return self._written

    async def _say(self) -> None:
        while not self._ended.is_set():
            self._said.append(str(time.monotonic()))
            self._more.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), random.uniform(0, 2 * EVERY_S))
        self._more.set()

    async def _publish(self, saying: "asyncio.Task[None]") -> None:
        """Connect, and write what is said until the end. Raises SinkError."""
        await self._sink.open()
        for message in (Message("state", IDLE), Message("stats", {}), Message("availability", "online")):
            self._sink.receive(message, True)
        self._connected(self._name, True)
        both = [asyncio.create_task(self._write(saying)), asyncio.create_task(self._sink.wait_lost())]
        try:
            done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                one.result()
        finally:
            for one in both:
                one.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    async def _write(self, saying: "asyncio.Task[None]") -> None:
        while True:
            self._more.clear()
            while self._written < len(self._said):
                await self._sink.write(final(self._written + 1, self._said[self._written]))
                self._written += 1
            if saying.done():
                return
            await self._more.wait()


async def main(url: str, count: int) -> None:
    ended = asyncio.Event()
    connected: set[str] = set()

    def changed(name: str, there: bool) -> None:
        (connected.add if there else connected.discard)(name)
        if len(connected) == count:
            print("standing", flush=True)

    names = [f"plain-{number}" for number in range(count)]
    running = asyncio.gather(*(Plain(url, name, ended, changed).run() for name in names))
    await asyncio.to_thread(sys.stdin.read)
    ended.set()
    print(json.dumps(dict(zip(names, await running, strict=True))), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
