"""The request by the Standard Webhooks, and who pays for its library."""

import subprocess
import sys

from flowpi.config.webhooks import signing_key
from flowpi.publish.webhook.request import body_of, headers_of, id_of
from tests.publish.test_files import final


def test_the_example_of_the_specification() -> None:
    key = signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    headers = headers_of("msg_p5jXN8AQM9LWM0D4loKWxJek", body, [key], 1_614_265_330.9)
    assert headers["webhook-timestamp"] == "1614265330"
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_two_keys_are_two_signatures() -> None:
    one, other = (headers_of("id", b"{}", [key], 0)["webhook-signature"] for key in (b"a" * 24, b"b" * 24))
    assert headers_of("id", b"{}", [b"a" * 24, b"b" * 24], 0)["webhook-signature"] == f"{one} {other}"


def test_the_parts_of_an_utterance_are_told_apart() -> None:
    assert id_of(final(1, part=2)) == "01JAZZ00000000000000000001-2"
    assert b'"part":2' in body_of(final(1, part=2))


def test_the_library_is_imported_only_for_a_webhook() -> None:
    program = (
        "import sys; from flowpi.config.schema import Config, PublishSettings;"
        "from flowpi.config.webhooks import WebhookSettings; from flowpi.publish.sinks import SINKS;"
        "hooks = PublishSettings(webhooks={'x': WebhookSettings('https://h')});"
        "made = lambda config: "
        "[kind.make(one, None) for kind in SINKS.values() for one in kind.settings(config).values()];"
        "assert made(Config()) == []; assert 'aiohttp' not in sys.modules;"
        "assert len(made(Config(publish=hooks))) == 1; assert 'aiohttp' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
