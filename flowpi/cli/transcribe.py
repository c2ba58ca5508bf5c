"""`flowpi transcribe FILE`: sends a recording to the configured backends, without a daemon or a spool."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Iterable

from flowpi.audio.cutting import Part, cut
from flowpi.audio.sound import open_sound
from flowpi.audio.utterance import About, Utterance
from flowpi.backends.chain import make_backends
from flowpi.cli.terminal import print_safely
from flowpi.config.schema import Config
from flowpi.core.text import printable
from flowpi.core.ulid import UlidFactory
from flowpi.dsp.speech import SpeechLevel


def transcribe(config: Config, file: str) -> int:
    """Print the text of a sound file, or of the standard input for "-".

    A long file is sent in parts of `dictation.max_utterance_s`, cut in pauses, one line for each. What the file
    announces and does not have, speech too quiet to be understood, and that there was none, are told on stderr.

    Raises:
        NoInputError, NoPermissionError, DataError: the file does not exist, cannot be read, or has no sound.
        BackendError: no backend returned a text.
    """
    level = SpeechLevel()
    with open_sound(file, pipes=True) as sound:
        found = asyncio.run(_transcribe(config, cut(level.measured(sound.blocks()), config.dictation.max_utterance_s)))
        warnings = sound.warnings()
    if level.is_too_quiet:
        quiet = f"{sound.name!r} is so quiet ({level.speech_dbfs:.0f} dBFS) that words are lost: make it louder first"
        warnings.append(quiet)
    for warning in warnings:
        _say(f"warning: {warning}")
    if not found:
        _say("no speech was found")
    return 0


async def _transcribe(config: Config, parts: Iterable[Part]) -> bool:
    """Print the text of each part, and return whether there was any."""
    backends = make_backends(config)
    utterance_id = UlidFactory().make(int(time.time() * 1000), os.urandom(10))
    found = False
    try:
        for number, part in enumerate(parts, 1):
            utterance = Utterance(About(utterance_id, time.time(), part=number), pcm=part.pcm, complete=True)
            text, _, _ = await backends.text_of(utterance, lambda partial, backend: None)
            print_safely(printable(text.text, None))
            found = found or bool(text.text.strip())
            # A session is part of a cycle of objects: without this, the audio of five parts waits for the collector.
            part.pcm.clear()
    finally:
        await backends.close()
    return found


def _say(message: str) -> None:
    """Print a line on stderr. That nobody reads it is no error."""
    with contextlib.suppress(OSError):
        print(f"flowpi: {message}", file=sys.stderr)
