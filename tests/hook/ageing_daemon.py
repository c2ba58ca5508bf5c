"""The daemon, as far as a hook sees one, on days that a test determines: `python -m tests.hook.ageing_daemon DIR`.

Socket, transcripts and publisher are those of flowpi; texts are kept for one day. It reads commands from its standard
input, a line each, and answers each with a line when it is durable: `say NUMBER DAY`, and `expire DAY`, which deletes
what is too old on that day.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

from flowpi.appliance.sink_requests import SinkRequests
from flowpi.appliance.text_requests import TextRequests
from flowpi.config.command import CommandSettings
from flowpi.config.schema import Config, PublishSettings
from flowpi.publish.files import Transcripts
from flowpi.publish.history import History
from flowpi.publish.hub import Hub
from flowpi.publish.messages import Final, Problem, Request
from flowpi.publish.publisher import Publisher
from flowpi.publish.socket import LocalSocket
from tests.hook.scripted_daemon import payload

DAY_S = 86_400
NOON = 1_700_000_000 // DAY_S * DAY_S + DAY_S / 2


async def main(directory: Path) -> None:
    transcripts = Transcripts(directory / "transcripts", keep_days=1, max_lag_days=10_000)
    transcripts.open()
    hub, history = Hub(), History(transcripts)
    config = Config(publish=PublishSettings(command=CommandSettings(run=("/bin/true",))))
    publisher = Publisher(
        config, hub, transcripts, directory / "sinks", fault=lambda code, message: None, clear=lambda code: None
    )
    sinks, texts = SinkRequests(publisher), TextRequests(history, transcripts)

    async def command(request: Request, user: int | None) -> dict[str, Any] | Problem:
        return await (sinks.handle(request, user) if request.command == "sinks" else texts.handle(request))

    path = directory / "socket"
    await LocalSocket(hub, command, path=path, group=None, device_id="desk", history=history).open()
    await publisher.open()
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    uptime_days = 0
    while line := (await commands.readline()).decode():
        match line.split():
            case ["say", number, day]:
                one = payload(int(number))
                final = Final(one["id"], 1, one["text"], "en", "house", "2023-11-14T12:00:00.000Z", 1.0, 0.1, False)
                await transcripts.append(final, NOON + int(day) * DAY_S)
            case ["expire", day]:
                for _ in range(2):  # what is deleted was too old for a day
                    uptime_days += 1
                    now, up = NOON + int(day) * DAY_S, 1e9 + uptime_days * DAY_S
                    await asyncio.to_thread(transcripts.expire, now, up)
        print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
