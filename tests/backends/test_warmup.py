"""The request that keeps a service warm between two dictations."""

import asyncio

from flowpi.backends.patience import Patience
from flowpi.backends.transport import Transport
from flowpi.backends.warmup import WarmUp
from tests import clock


class Recorder(Transport):
    """Writes down when it is asked for what."""

    def __init__(self) -> None:
        super().__init__("cloud", Patience())
        self.asked: list[tuple[float, str]] = []

    async def request(self, method: str, url: str, **_: object) -> None:
        self.asked.append((asyncio.get_running_loop().time(), f"{method} {url}"))


def asked(url: str, for_s: float, *dictations: float) -> list[tuple[float, str]]:
    """What is asked for by whom, who dictates at these moments."""

    async def main() -> list[tuple[float, str]]:
        transport = Recorder()
        warm_up = WarmUp(transport, url, for_s)
        loop = asyncio.get_running_loop()
        for at in dictations:
            await asyncio.sleep(at - loop.time())
            warm_up.dictation_began()
        await asyncio.sleep(10_000)
        await warm_up.close()
        return transport.asked

    return clock.run(main())


URL = "wss://platform-api.wisprflow.ai/api/v1/dash/client_ws"
REQUEST = "GET https://platform-api.wisprflow.ai/api/v1/dash/warmup_dash"


def test_each_minute_while_another_dictation_is_likely() -> None:
    assert asked(URL, 150, 0.0) == [(60.0, REQUEST), (120.0, REQUEST)]


def test_a_dictation_prolongs_it() -> None:
    assert [at for at, _ in asked(URL, 130, 0.0, 100.0)] == [60.0, 120.0, 180.0]


def test_it_is_off_by_default_and_on_this_machine() -> None:
    assert asked(URL, 0, 0.0) == []
    assert asked("ws+unix:///run/flowpi/asr.sock", 600, 0.0) == []
