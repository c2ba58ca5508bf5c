"""Keys: where they come from, and when there must be another (P22)."""

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web

from flowpi.backends.patience import Patience
from flowpi.backends.tokens import (
    AHEAD_MAX_S,
    FORGET_REFUSAL_S,
    Fetched,
    FetchedKey,
    Key,
    NoKey,
    SecretKey,
    fetch_token,
)
from flowpi.backends.transport import Transport
from flowpi.config.backends.flow import TokenSettings
from flowpi.config.secret import Secret
from flowpi.core.errors import BackendError, CredentialError, HttpError, LinkError
from tests import clock
from tests.waiting import until

ORG_KEY = "fl-canary"


class Counter:
    """Hands out `key 1`, `key 2` ..., or the errors that `failing` holds first."""

    def __init__(self, lifetime_s: float = 3600.0) -> None:
        self.given = 0
        self.failing: list[BackendError] = []
        self.lifetime_s = lifetime_s
        self.slow: asyncio.Event | None = None

    async def __call__(self) -> Fetched:
        if self.slow is not None:
            await self.slow.wait()
        if self.failing:
            raise self.failing.pop()
        self.given += 1
        return Fetched(f"key-{self.given}", self.lifetime_s)


class TestFetchedKey:
    async def test_is_fetched_once_for_many_who_wait(self) -> None:
        fetch = Counter()
        fetch.slow = asyncio.Event()
        key = FetchedKey("cloud", fetch)
        waiting = [asyncio.create_task(key.get()) for _ in range(20)]
        await asyncio.sleep(0)
        waiting[0].cancel()  # one waiter's end is not the others'
        fetch.slow.set()
        assert await asyncio.gather(*waiting[1:]) == ["key-1"] * 19
        assert await key.get() == "key-1"
        assert fetch.given == 1

    async def test_a_refusal_costs_one_new_key_however_many_tell_of_it(self) -> None:
        fetch = Counter()
        key = FetchedKey("cloud", fetch)
        first = await key.get()
        assert await asyncio.gather(*(key.refused(first) for _ in range(10))) == [True] * 10
        assert await key.refused(first)  # one that comes late
        assert await key.get() == "key-2"
        assert fetch.given == 2

    async def test_no_other_key_can_be_had(self) -> None:
        fetch = Counter()
        key = FetchedKey("cloud", fetch)
        first = await key.get()
        fetch.failing = [LinkError("no way")]
        assert not await key.refused(first)
        fetch.failing = [LinkError("no way")]
        with pytest.raises(LinkError):
            await key.get()
        assert await key.get() == "key-2"

    def test_is_there_before_it_is_wanted_and_never_old(self) -> None:
        async def main() -> None:
            fetch = Counter(lifetime_s=3600)
            key = FetchedKey("cloud", fetch)
            key.start()
            loop = asyncio.get_running_loop()
            await asyncio.sleep(1)
            assert fetch.given == 1
            await asyncio.sleep(3600 - AHEAD_MAX_S - 2)
            assert fetch.given == 1
            await asyncio.sleep(2)
            assert fetch.given == 2
            await asyncio.sleep(24 * 3600)
            assert 24 <= fetch.given <= 30
            assert loop.time() > 24 * 3600
            await key.close()

        clock.run(main())

    def test_a_short_life_is_renewed_in_time_too(self) -> None:
        async def main() -> None:
            fetch = Counter(lifetime_s=60)
            key = FetchedKey("cloud", fetch)
            key.start()
            await asyncio.sleep(47)
            assert fetch.given == 1
            await asyncio.sleep(2)
            assert fetch.given == 2
            await key.close()

        clock.run(main())

    def test_the_key_after_a_refused_one_is_renewed_in_time_too(self) -> None:
        async def main() -> None:
            fetch = Counter(lifetime_s=3600)
            key = FetchedKey("cloud", fetch)
            key.start()
            await asyncio.sleep(100)
            fetch.lifetime_s = 100
            assert await key.refused("key-1")
            assert await key.get() == "key-2"
            await asyncio.sleep(82)
            assert fetch.given == 3
            await key.close()

        clock.run(main())

    def test_a_service_that_is_down_is_not_hammered(self) -> None:
        async def main() -> None:
            fetch = Counter()
            fetch.failing = [LinkError("no way") for _ in range(1000)]
            key = FetchedKey("cloud", fetch)
            key.start()
            await asyncio.sleep(60)
            assert 1000 - len(fetch.failing) <= 10
            await asyncio.sleep(3600)
            assert 1000 - len(fetch.failing) <= 10 + 120
            fetch.failing.clear()
            await asyncio.sleep(61)
            assert fetch.given == 1
            await key.close()

        clock.run(main())

    def test_a_key_of_no_life_is_no_hot_loop(self) -> None:
        async def main() -> None:
            fetch = Counter(lifetime_s=0.001)
            key = FetchedKey("cloud", fetch)
            key.start()
            await asyncio.sleep(60)
            assert fetch.given <= 61
            await key.close()

        clock.run(main())


class TestSecretKey:
    async def test_one_attempt_for_each_change(self, tmp_path: Path) -> None:
        file = tmp_path / "key"
        file.write_text("old")
        key = SecretKey("cloud", Secret("file", str(file)))
        assert await key.get() == "old"
        assert not await key.refused("old")
        with pytest.raises(CredentialError, match=r"refused this key before: change the key of backends.cloud"):
            await key.get()
        file.write_text("new")
        assert await key.get() == "new"

    @pytest.mark.parametrize("make", [lambda: SecretKey("cloud", Secret("literal", "key")), lambda: NoKey("cloud")])
    async def test_it_is_sent_again_when_the_user_asks_for_it(self, make: Callable[[], Key]) -> None:
        """The mistake may have been the service's, and is corrected there."""
        key = make()
        sent = await key.get()
        assert not await key.refused(sent)
        with pytest.raises(CredentialError):
            await key.get()
        key.forgive()
        assert await key.get() == sent

    async def test_one_that_was_changed_meanwhile(self, tmp_path: Path) -> None:
        file = tmp_path / "key"
        file.write_text("old")
        key = SecretKey("cloud", Secret("file", str(file)))
        await key.get()
        file.write_text("new")
        assert await key.refused("old")
        assert await key.get() == "new"

    def test_the_service_may_have_been_wrong(self) -> None:
        async def main() -> None:
            key = SecretKey("cloud", Secret("literal", "right"))
            assert not await key.refused("right")
            await asyncio.sleep(FORGET_REFUSAL_S)
            assert await key.get() == "right"

        clock.run(main())

    async def test_it_is_not_there(self, tmp_path: Path) -> None:
        key = SecretKey("cloud", Secret("file", str(tmp_path / "none")))
        with pytest.raises(CredentialError, match=r"^there is no key for backend 'cloud': .*cannot read it"):
            await key.get()
        assert not await key.refused("x")


class Desk:
    """Where tokens are handed out, by real HTTP."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str | None, object]] = []
        self.answer: Callable[[], web.Response] = lambda: web.json_response({"access_token": "jwt", "expires_in": 60})
        app = web.Application()
        app.router.add_route("*", "/token", self._handle)
        self._runner = web.AppRunner(app)

    async def __aenter__(self) -> str:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        assert site._server is not None
        return f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/token"  # type: ignore[attr-defined]

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else None
        self.requests.append((request.method, request.headers.get("Authorization"), body))
        return self.answer()


def is_alive(pid: int) -> bool:
    """Whether it does anything; one that has ended may wait for long to be noticed by its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def fetch(token: TokenSettings) -> Fetched:
    return await fetch_token("cloud", token, Transport("cloud", Patience()), "front-desk")()


class TestFetchToken:
    async def test_from_the_service(self) -> None:
        desk = Desk()
        async with desk as url:
            token = TokenSettings(url=url, api_key=Secret("literal", ORG_KEY), duration_s=600)
            assert await fetch(token) == Fetched("jwt", 60.0)
        body = {"client_id": "front-desk", "duration_secs": 600}
        assert desk.requests == [("POST", f"Bearer {ORG_KEY}", body)]

    @pytest.mark.parametrize(
        ("answer", "expected"),
        [
            ({"access_token": "jwt"}, Fetched("jwt", 600.0)),
            ({"client_key": "jwt", "expires_in": 7}, Fetched("jwt", 7.0)),
            ({"token": "jwt", "expires_in": True}, Fetched("jwt", 600.0)),
            ("jwt", Fetched("jwt", 600.0)),
        ],
    )
    async def test_from_an_endpoint_of_the_owners(self, answer: object, expected: Fetched) -> None:
        desk = Desk()
        text = answer if isinstance(answer, str) else json.dumps(answer)
        desk.answer = lambda: web.Response(text=text + "\n")
        async with desk as url:
            assert await fetch(TokenSettings(url=url, duration_s=600)) == expected
        assert desk.requests == [("GET", None, None)]

    @pytest.mark.parametrize(
        "answer", ["<html>login</html>", "", "{}", '{"access_token": 7}', "two words", "[]", '{"token": "a\\nb"}']
    )
    async def test_an_answer_that_is_no_key(self, answer: str) -> None:
        desk = Desk()
        desk.answer = lambda: web.Response(text=answer)
        async with desk as url:
            with pytest.raises(CredentialError, match="gives none"):
                await fetch(TokenSettings(url=url))

    async def test_a_refusal_is_told_without_the_key(self) -> None:
        desk = Desk()
        desk.answer = lambda: web.json_response({"detail": f"{ORG_KEY} is unknown"}, status=401)
        async with desk as url:
            with pytest.raises(HttpError) as caught:
                await fetch(TokenSettings(url=url, api_key=Secret("literal", ORG_KEY)))
        assert "HTTP 401" in str(caught.value)
        assert ORG_KEY not in str(caught.value) + caught.value.detail

    async def test_the_reason_may_be_a_list(self) -> None:
        """FastAPI's answer to a request that does not validate."""
        desk = Desk()
        detail = [{"loc": ["body", "client_id"], "msg": "field required", "type": "missing"}]
        desk.answer = lambda: web.json_response({"detail": detail}, status=422)
        async with desk as url:
            with pytest.raises(HttpError) as caught:
                await fetch(TokenSettings(url=url, api_key=Secret("literal", ORG_KEY)))
        assert caught.value.detail == "field required"

    @pytest.mark.parametrize(
        ("command", "expected"),
        [
            (("echo", "jwt"), Fetched("jwt", 600.0)),
            (("echo", '{"access_token": "jwt", "expires_in": 30}'), Fetched("jwt", 30.0)),
        ],
    )
    async def test_from_a_command(self, command: tuple[str, ...], expected: Fetched) -> None:
        assert await fetch(TokenSettings(command=command, duration_s=600)) == expected

    @pytest.mark.parametrize(
        ("command", "reason"),
        [
            (("/no/such/program",), "cannot run (no such file or directory): check backends.cloud.token.command"),
            (
                ("/etc/passwd",),
                "check backends.cloud.token.command; the service starts it only with ExecPaths=",
            ),
            (("false",), "ended with 1: run it by hand as the user of flowpi"),
            (("true",), "gives none"),
        ],
    )
    async def test_a_command_that_gives_no_key(self, command: tuple[str, ...], reason: str) -> None:
        with pytest.raises(CredentialError) as caught:
            await fetch(TokenSettings(command=command))
        assert reason in str(caught.value)

    async def test_a_command_that_prints_without_end(self) -> None:
        with pytest.raises(CredentialError, match="prints more than 65536 bytes: it must print the key alone"):
            await fetch(TokenSettings(command=("yes",)))

    async def test_what_a_command_starts_ends_with_it(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr("flowpi.backends.tokens.COMMAND_S", 1.5)  # enough to start it on a busy machine
        pid = tmp_path / "pid"
        with pytest.raises(CredentialError, match=r"took longer than 1\.5 s"):
            await fetch(TokenSettings(command=("sh", "-c", f"sh -c 'echo $$ > {pid}; sleep 1000'; true")))
        await until(lambda: not is_alive(int(pid.read_text())))

    async def test_a_command_ends_with_the_one_who_waits(self, tmp_path: Path) -> None:
        pid = tmp_path / "pid"
        fetching = asyncio.create_task(fetch(TokenSettings(command=("sh", "-c", f"echo $$ > {pid}; exec sleep 1000"))))
        await until(lambda: pid.exists() and pid.read_text().strip())
        fetching.cancel()
        await asyncio.gather(fetching, return_exceptions=True)
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid.read_text()), 0)
