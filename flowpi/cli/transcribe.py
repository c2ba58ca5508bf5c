"""`flowpi transcribe FILE`: sends a recording to the configured backends, without a daemon or a spool."""

import asyncio
import os
import time

from flowpi.audio.utterance import About, Utterance
from flowpi.audio.wav import read_wav
from flowpi.backends.chain import make_backends
from flowpi.cli.terminal import print_safely
from flowpi.config.schema import Config
from flowpi.core.text import printable
from flowpi.core.ulid import UlidFactory
from flowpi.dsp.format import BYTES_PER_S


def transcribe(config: Config, file: str) -> int:
    """Print the text of a WAV file. A long file is sent in parts of `dictation.max_utterance_s`, one line for each.

    Raises:
        NoInputError, DataError: the file does not exist, or is no WAV.
        BackendError: no backend returned a text.
    """
    pcm = read_wav(file)
    part_bytes = config.dictation.max_utterance_s * BYTES_PER_S
    parts = [pcm[at : at + part_bytes] for at in range(0, len(pcm), part_bytes)]
    asyncio.run(_transcribe(config, parts))
    return 0


async def _transcribe(config: Config, parts: list[bytes]) -> None:
    """Print the text of each part: int16 mono 16 kHz."""
    backends = make_backends(config)
    utterance_id = UlidFactory().make(int(time.time() * 1000), os.urandom(10))
    try:
        for number, pcm in enumerate(parts, 1):
            utterance = Utterance(About(utterance_id, time.time(), part=number), pcm=pcm, complete=True)
            text, _, _ = await backends.text_of(utterance, lambda partial, backend: None)
            print_safely(printable(text.text, None))
    finally:
        await backends.close()
