"""The table of engines, and what the echo proves."""

import hashlib

from flowpi.server.engines import ENGINES, EchoEngine


def test_echo_names_all_that_it_heard() -> None:
    recognition = EchoEngine().recognition([])
    pcm = bytes(range(256)) * 425
    for at in range(0, len(pcm), 7000):
        recognition.feed(pcm[at : at + 7000])
    assert recognition.finish() == f"echo 3.400 s, 54400 samples, sha256 {hashlib.sha256(pcm).hexdigest()}"


def test_echo_interim_texts_come_once_a_second() -> None:
    recognition = EchoEngine().recognition([])
    texts = [recognition.feed(bytes(16_000)) for _ in range(6)]
    assert texts == [None, "echo 1 s", None, "echo 2 s", None, "echo 3 s"]


def test_the_table_names_both() -> None:
    assert set(ENGINES) == {"echo", "moonshine"}
