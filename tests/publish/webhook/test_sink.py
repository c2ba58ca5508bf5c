"""The sink of a webhook, fed by the publisher, with a receiver on a real connection. Waits are jumped over."""

import json
import ssl
import subprocess
import time
from collections.abc import AsyncIterator
from email.utils import formatdate
from pathlib import Path

import pytest

from flowpi.config.schema import Config, PublishSettings
from flowpi.config.secret import Secret
from flowpi.config.webhooks import WebhookSettings
from flowpi.publish import feeder
from flowpi.publish.publisher import Publisher
from flowpi.publish.webhook.sink import WebhookSink
from flowpi.publish.webhook.verdict import WAITS_S
from tests.publish.test_files import final
from tests.publish.webhook import receiver as receivers
from tests.publish.webhook.receiver import OTHER_SECRET, SECRET, answer, receiver
from tests.publish.webhook.station import Station, settings
from tests.waiting import ticks


async def test_what_is_sent(station: Station) -> None:
    async with station.run(sink=station.sink()):
        await station.say(1)
        await station.until_sent(1)
    (request,) = station.receiver.requests
    assert request.line == "POST /hook?token=canary HTTP/1.1"
    assert request.headers["webhook-id"] == "01JAZZ00000000000000000001-1"
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.body) == {
        "type": "transcript.final",
        "timestamp": final().started_at,
        "data": {
            "id": "01JAZZ00000000000000000001",
            "part": 1,
            "text": "It was the best.",
            "language": "en",
            "backend": "house",
            "started_at": final().started_at,
            "duration_s": 1.5,
            "final_after_s": 0.25,
            "late": False,
        },
    }


async def test_without_a_secret_it_is_plain_json(station: Station) -> None:
    station.receiver.secrets = ()
    async with station.run(sink=station.sink(None)):
        await station.say(1)
        await station.until_sent(1)
    assert not any(name.startswith("webhook") for name in station.receiver.requests[0].headers)


async def test_both_secrets_verify_while_one_replaces_the_other(station: Station) -> None:
    station.receiver.secrets = (SECRET, OTHER_SECRET)
    async with station.run(sink=station.sink(OTHER_SECRET, SECRET)):
        await station.say(1)
        await station.until_sent(1)


@pytest.mark.parametrize(
    ("behaviour", "problem"),
    [
        (answer(500), "it answers 500"),
        (receivers.reset, "the connection broke"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "it does not answer in HTTP: check the port in url"),
        (answer(302, Location="/elsewhere"), "it redirects (302): set url to where that leads"),
        (answer(429), "it answers 429"),
    ],
    ids=["500", "reset", "not_http", "302", "429"],
)
async def test_a_failure_is_tried_again_and_the_next_texts_wait(
    station: Station, behaviour: receivers.Behaviour, problem: str
) -> None:
    station.receiver.script = [behaviour]
    async with station.run(sink=station.sink()):
        await station.say(1, 2)
        await station.until_failed(1)
        assert station.faults == {"sink.sink": f"127.0.0.1:{station.receiver.port}: {problem}"}
        await station.assert_waits(WAITS_S[0])
        await station.until_sent(1, 2)
        await station.clock.until(lambda: not station.faults)
    first, again, _ = station.receiver.requests
    assert first.headers["webhook-id"] == again.headers["webhook-id"]
    assert first.body == again.body
    assert "/elsewhere" not in " ".join(request.line for request in station.receiver.requests)


async def test_each_try_is_signed_anew(station: Station) -> None:
    station.receiver.script = [answer(500)]
    async with station.run(sink=station.sink()):
        await station.say(1)
        await station.until_failed(1)
        station.offset_s = 200
        await station.assert_waits(WAITS_S[0])
        await station.until_sent(1)
    first, again = station.receiver.requests
    assert int(again.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) in range(199, 260)
    assert first.headers["webhook-signature"] != again.headers["webhook-signature"]


async def test_one_that_never_answers_has_15_seconds(station: Station) -> None:
    station.receiver.script = [receivers.mute]
    async with station.run(sink=station.sink()):
        await station.say(1)
        await station.clock.until(lambda: station.receiver.requests)
        station.clock.skip(8)
        await ticks(50)
        assert not station.faults
        station.clock.skip(7)
        await station.until_failed(1)
        assert "no answer within 15 s" in station.faults["sink.sink"]
        await station.assert_waits(WAITS_S[0])
        await station.until_sent(1)


@pytest.mark.parametrize("body", [receivers.slow_body, receivers.huge_body])
async def test_a_body_without_an_end_holds_nobody_up(station: Station, body: receivers.Behaviour) -> None:
    station.receiver.script = [body]
    async with station.run(sink=station.sink()):
        await station.say(1, 2)
        await station.until_sent(2)
        assert not station.faults
    assert len(station.receiver.requests) == 2


async def test_one_that_is_not_reached_for_long_gets_all_texts_in_order_soon_after_it_is_back(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeder, "FIRST_WAIT_S", 75.0)
    await station.receiver.stop()
    async with station.run(sink=station.sink()) as running:
        await station.say(1, 2, 3)
        for failure, wait_s in enumerate((75, 150, *[feeder.LONGEST_WAIT_S] * 20), 1):
            await station.until_failed(failure)
            await station.assert_waits(wait_s)
        await station.until_failed(23)
        assert "it is not reached (Connection refused): check that it runs" in station.faults["sink.sink"]
        assert running.parked(["sink"]) == []
        await station.say(4)
        station.receiver.script = [answer(500)]
        await station.receiver.start()
        station.clock.skip(feeder.LONGEST_WAIT_S)
        await station.until_failed(24)
        await station.assert_waits(WAITS_S[0])  # this was the first of its tries
        await station.until_sent(1, 2, 3, 4)
        await station.clock.until(lambda: not station.faults)


async def test_after_the_last_try_a_text_is_parked_and_the_next_follows(station: Station) -> None:
    station.receiver.script = [answer(500)] * (len(WAITS_S) + 1)
    async with station.run(sink=station.sink()) as running:
        await station.say(1, 2)
        for failure, wait_s in enumerate(WAITS_S, 1):
            await station.until_failed(failure)
            await station.assert_waits(wait_s)
        await station.until_sent(2)
        assert [one.reason.partition(": ")[2] for one in running.parked(["sink"])] == ["it answers 500"]
        await station.clock.until(lambda: list(station.faults) == ["undelivered.sink"])
        running.retry(["sink"])
        await station.until_sent(2, 1)
        await station.clock.until(lambda: not station.faults)


async def test_a_bad_request_has_three_tries(station: Station) -> None:
    station.receiver.script = [answer(404)] * 4
    async with station.run(sink=station.sink()) as running:
        await station.say(1, 2)
        for failure, wait_s in enumerate(WAITS_S[:2], 1):
            await station.until_failed(failure)
            await station.assert_waits(wait_s)
        await station.clock.until(lambda: running.parked(["sink"]))
        await station.until_failed(4)  # the fault for the parked text, and the first try of the second
        await station.assert_waits(WAITS_S[0])
        await station.until_sent(2)
        station.receiver.script = [answer(404)]
        running.retry(["sink"])
        await station.clock.until(lambda: len(station.receiver.requests) == 6)
        await station.say(3)
        await station.until_sent(2, 3)  # one more try of what is parked is enough
        assert len(running.parked(["sink"])) == 1


async def test_tries_that_an_operator_asked_for_do_not_count(station: Station) -> None:
    station.receiver.script = [answer(500)] * 10
    async with station.run(sink=station.sink()) as running:
        await station.say(1)
        for failure in range(1, 10):
            await station.until_failed(failure)
            running.retry(["sink"])
        await station.until_failed(10)
        assert running.parked(["sink"]) == []
        await station.assert_waits(WAITS_S[0])
        await station.until_sent(1)


async def test_one_that_is_gone_is_asked_no_more_until_an_operator_says_so(station: Station) -> None:
    station.receiver.script = [answer(410)]
    async with station.run(sink=station.sink()) as running:
        await station.say(1, 2)
        await station.until_failed(1)
        assert "gone for good (410)" in station.faults["sink.sink"]
        station.clock.skip(30 * 86_400)
        await ticks(100)
        assert len(station.receiver.requests) == 1
        running.retry(["sink"])
        await station.until_sent(1, 2)
        await station.clock.until(lambda: not station.faults)


@pytest.mark.parametrize(
    ("status", "retry_after", "wait_s"),
    [
        (429, "30", 30),
        (503, "120", 120),
        (429, "99999999", 3600),
        (503, formatdate(1_800_000_090, usegmt=True), 90),
    ],
)
async def test_a_receiver_may_ask_to_wait_and_that_costs_no_try(
    station: Station, status: int, retry_after: str, wait_s: float
) -> None:
    busy = answer(status, Retry_After=retry_after, Date=formatdate(1_800_000_000, usegmt=True))
    station.receiver.script = [busy] * 9
    async with station.run(sink=station.sink()):
        await station.say(1, 2)
        for failure in range(1, 10):
            await station.until_failed(failure)
            await station.assert_waits(wait_s)
        await station.until_sent(1, 2)


@pytest.mark.parametrize("known", [False, None], ids=["unsynchronised", "unknown"])
async def test_a_clock_that_is_ten_minutes_off(station: Station, known: bool | None) -> None:
    station.offset_s, station.synchronised = -600, known
    dated = answer(400, Date=formatdate(time.time(), usegmt=True))
    station.receiver.script = [dated] * 8 if known is None else []
    async with station.run(sink=station.sink()) as running:
        await station.say(1, 2)
        for failure in range(1, 9):
            await station.until_failed(failure)
            assert "while the clock of this machine is not set" in station.faults["sink.sink"]
            if failure < 8:
                await station.assert_waits(60)
        assert not any(map(station.receiver.is_genuine, station.receiver.requests))
        station.offset_s, station.synchronised = 0, True
        await station.assert_waits(60)
        await station.until_sent(1, 2)
        assert running.parked(["sink"]) == []


async def test_the_stop_in_the_middle_of_a_try_repeats_it_with_the_same_id(station: Station) -> None:
    station.receiver.script = [receivers.mute]
    async with station.run(sink=station.sink()):
        await station.say(1)
        await station.clock.until(lambda: station.receiver.requests)
    async with station.run(sink=station.sink()):
        await station.until_sent(1)
    first, again = station.receiver.requests
    assert (first.headers["webhook-id"], first.body) == (again.headers["webhook-id"], again.body)


async def test_a_secret_in_a_file_is_read_anew_for_each_try(station: Station, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("whsec_too-short")
    hook = WebhookSink(WebhookSettings(station.receiver.url, Secret("file", str(file))))
    async with station.run(sink=hook) as running:
        await station.say(1)
        await station.until_failed(1)
        assert "its secret is not base64 after whsec_: write whsec_ and" in station.faults["sink.sink"]
        assert "too-short" not in station.faults["sink.sink"]
        file.unlink()
        running.retry(["sink"])
        await station.until_failed(2)
        assert "No such file" in station.faults["sink.sink"]
        file.write_text(SECRET + "\n")
        running.retry(["sink"])
        await station.until_sent(1)


class TestSeveral:
    @pytest.fixture
    async def config(self, station: Station) -> AsyncIterator[Config]:
        async with receiver() as self.other:
            yield self.configuration(station, SECRET)

    def configuration(self, station: Station, secret: str) -> Config:
        hooks = {"desk": settings(station.receiver, secret), "other": settings(self.other, None)}
        return Config(publish=PublishSettings(webhooks=hooks))

    async def start(self, station: Station, config: Config) -> Publisher:
        """Start a publisher with the table of the real sinks."""
        running = Publisher(
            config,
            station.hub,
            station.transcripts,
            station.positions,
            fault=station.faults.__setitem__,
            clear=lambda code: station.faults.pop(code, None),
        )
        await running.open()
        running.start()
        for name in running.names:
            await station.clock.until((station.positions / f"{name}.position").exists)
        return running

    async def test_a_dead_one_does_not_delay_the_other(self, station: Station, config: Config) -> None:
        await station.receiver.stop()
        running = await self.start(station, config)
        assert running.names == ["webhook.desk", "webhook.other"]
        await station.say(*range(1, 21))
        position = station.positions / "webhook.other.position"
        await station.clock.until(lambda: final(20).id in position.read_text())
        assert self.other.texts == list(range(1, 21))
        await station.clock.until(lambda: station.faults)  # once, or more often on a busy machine
        assert list(station.faults) == ["sink.webhook.desk"]
        shown = {one.name: (one.state, one.waiting) for one in await running.sinks()}
        assert shown == {"webhook.desk": ("failing", 20), "webhook.other": ("open", 0)}
        await station.receiver.start()
        running.retry(["webhook.desk"])
        await station.until_sent(*range(1, 21))
        await running.close()

    async def test_a_reload_with_another_secret_tries_at_once(self, station: Station, config: Config) -> None:
        station.receiver.secrets = (OTHER_SECRET,)
        running = await self.start(station, config)
        await station.say(1)
        await station.until_failed(1)
        assert "it answers 400" in station.faults["sink.webhook.desk"]
        await running.apply(self.configuration(station, OTHER_SECRET))
        await station.until_sent(1)
        assert not station.faults
        assert self.other.texts == [1]
        await running.close()


def certificate(directory: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 that nobody trusts yet, and its key."""
    key, chain = directory / "key.pem", directory / "chain.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(chain), "-subj", "/CN=desk", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)
    return key, chain


async def test_a_certificate_has_to_be_trusted(station: Station, tmp_path: Path) -> None:
    key, chain = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    async with receiver(SECRET, tls=context) as secure:
        url = secure.url.replace("http:", "https:")
        async with station.run(sink=WebhookSink(WebhookSettings(url, Secret("literal", SECRET)))):
            await station.say(1)
            await station.until_failed(1)
            assert "its certificate is not trusted: name its authority in ca_file" in station.faults["sink.sink"]
        async with station.run(sink=WebhookSink(WebhookSettings(url, ca_file=str(tmp_path / "none.pem")))):
            await station.clock.until(lambda: "none.pem" in station.faults["sink.sink"])
        trusting = WebhookSettings(url, Secret("literal", SECRET), ca_file=str(chain))
        async with station.run(sink=WebhookSink(trusting)):
            await station.clock.until(lambda: secure.texts == [1])
