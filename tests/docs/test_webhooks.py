"""The document on webhooks is true: its receiver accepts what flowpi sends, and its waits are those of the code."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

from flowpi.config.loading import load
from flowpi.config.secret import Secret
from flowpi.config.webhooks import WebhookSettings
from flowpi.core import topics
from flowpi.publish.feeder import LONGEST_WAIT_S
from flowpi.publish.webhook.live import MOST_WAITING
from flowpi.publish.webhook.request import type_of
from flowpi.publish.webhook.sender import CONNECT_S, TRY_S
from flowpi.publish.webhook.sink import JITTER, WebhookSink
from flowpi.publish.webhook.verdict import LONGEST_RETRY_AFTER_S, TRIES_OF_A_BAD_REQUEST, WAITS_S
from tests.docs.documents import blocks, section, text_of
from tests.publish.test_files import final
from tests.waiting import PATIENCE_S, wait_for

DOCUMENT = "docs/webhooks.md"


def test_the_receiver(tmp_path: Path, unused_tcp_port: int) -> None:
    (program,) = blocks("python", text_of(DOCUMENT))
    (secret,) = re.findall(r'"(whsec_[^"]+)"', program)
    program = program.replace('("", 8080)', f'("127.0.0.1", {unused_tcp_port})')
    output = tmp_path / "output"
    with output.open("w") as out, subprocess.Popen([sys.executable, "-c", program], stdout=out, stderr=out) as running:
        try:
            wait_for(lambda: _listens(unused_tcp_port))
            asyncio.run(_send(WebhookSettings(f"http://127.0.0.1:{unused_tcp_port}", Secret("literal", secret))))
        finally:
            running.kill()
    assert re.findall(r"^text .*", output.read_text(), re.MULTILINE) == ["text 1", "text 2"]


async def _send(settings: WebhookSettings) -> None:
    """Send a text twice, and another one."""
    sink = WebhookSink(settings)
    await sink.open()
    async with asyncio.timeout(PATIENCE_S):
        for number in (1, 1, 2):
            await sink.write(final(number, f"text {number}"))
    await sink.close()


def _listens(port: int) -> bool:
    return f":{port:04X} 00000000:0000 0A" in Path("/proc/net/tcp").read_text()


def test_the_example_is_a_good_configuration(tmp_path: Path) -> None:
    named = []
    for example in blocks("yaml", text_of(DOCUMENT)):
        file = tmp_path / "flowpi.yaml"
        file.write_text(example)
        hooks = load(str(file)).publish.webhooks
        named += list(hooks)
        assert [warning for name, hook in hooks.items() for warning in hook.warnings(name)] == []
    assert named == ["desk", "home", "ward"]
    assert f"`type` is the topic with dots, such as `{type_of(topics.BUTTON)}`" in text_of(DOCUMENT)
    assert f"Up to {MOST_WAITING} wait" in text_of(DOCUMENT)


def test_the_waits() -> None:
    table = section(DOCUMENT, "What the answer means")
    assert WAITS_S == (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600)
    assert "5 s, 5 min, 30 min, 2 h, 5 h and 10 h" in table
    assert f"{JITTER:.0%}".replace("%", " %") in table
    assert f"none within {TRY_S:.0f} s" in table
    assert f"not reached within {CONNECT_S:.0f} s" in table
    assert f"waits that double up to {LONGEST_WAIT_S / 60:.0f} minutes" in table
    assert (TRIES_OF_A_BAD_REQUEST, LONGEST_RETRY_AFTER_S) == (3, 3600)
