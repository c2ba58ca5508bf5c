"""`flowpi transcribe FILE...`: sends recordings to the configured backends, without a daemon or a spool."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from flowpi.audio.cutting import Part, cut, phrases, whole
from flowpi.audio.sound import Sound, open_sound
from flowpi.audio.utterance import About, Utterance
from flowpi.backends.chain import BackendChain, make_backends
from flowpi.cli.progress import Progress, clock
from flowpi.cli.transcript import Transcript, places
from flowpi.config.schema import Config
from flowpi.core.captions import FORMATS
from flowpi.core.errors import DataError, NoInputError, NoPermissionError
from flowpi.core.text import printable
from flowpi.core.ulid import UlidFactory
from flowpi.dsp.speech import SpeechLevel
from flowpi.wire.roles import PartialText


def transcribe(config: Config, files: Sequence[str], *, form: str = "txt", to: Path | None = None) -> int:
    """Print the text of sound files; "-" is the standard input.

    As `txt`, a long file is sent in parts of `dictation.max_utterance_s`, cut in pauses, one line for each. The other
    formats have times: for them it is sent phrase by phrase. What a file announces and does not have, speech too quiet
    to be understood, and that there was none, are told on stderr, and how far it is if that is a terminal.

    Args:
        form: a name in `FORMATS`.
        to: write each text to a file in this directory, with the name of the recording and `form` as extension, and
            print its path; it ends in `.part` if a backend fails before the end. None: print the texts.

    Returns:
        The exit code: 0, or that of the first file that cannot be used.

    Raises:
        UsageError, NoInputError, CannotCreateError: the texts cannot be put where they should be.
        BackendError: no backend returned a text. What was heard until then is written.
        OutputError: the disk behind the output is full.
    """
    code = 0
    where = places(files, form, to)
    with asyncio.Runner() as runner:
        transcriber = _Transcriber(config, runner, timed=FORMATS[form].timed)
        try:
            for file, place in zip(files, where, strict=True):
                head = FORMATS[form].head(file)
                if place is None and form == "txt" and len(files) > 1:
                    head = f"==> {printable(file, None)} <==\n"
                try:
                    with open_sound(file, pipes=True) as sound:
                        transcriber.transcribe(sound, Transcript(FORMATS[form], head, place, transcriber.make_room))
                except (NoInputError, NoPermissionError, DataError) as error:  # the others are not worse for it
                    transcriber.say(str(error))
                    code = code or error.exit_code
        finally:
            transcriber.close()
    return code


class _Transcriber:
    """Transcribes one recording after the other through the same backends."""

    def __init__(self, config: Config, runner: asyncio.Runner, *, timed: bool) -> None:
        longest_s = config.dictation.max_utterance_s
        self._rule = phrases(longest_s) if timed else whole(longest_s)
        self._runner = runner
        self._backends: BackendChain = make_backends(config)
        self._ids = UlidFactory()
        self._progress = Progress(sys.stderr)

    def transcribe(self, sound: Sound, transcript: Transcript) -> None:
        """Write the text of a recording, and what is to be said about it.

        Raises:
            FlowpiError: there is no more of the text. What was heard is written.
        """
        level = SpeechLevel()
        complete, warnings = False, []
        try:
            self._runner.run(self._hear(cut(level.measured(sound.blocks()), self._rule), sound, transcript))
            complete, warnings = True, sound.warnings()
        finally:
            if level.is_too_quiet:
                quiet = f"is so quiet ({level.speech_dbfs:.0f} dBFS) that words are lost: make it louder first"
                warnings.append(f"{sound.name!r} {quiet}")
            transcript.finish(sound.read_s, warnings, complete=complete)
            for warning in warnings:
                self.say(f"warning: {warning}")
            if not complete and transcript.until_s:
                self.say(f"the text of {sound.name!r} ends after {clock(transcript.until_s)}")
        if not transcript.has_text:
            self.say(f"no speech was found in {sound.name!r}")

    def say(self, message: str) -> None:
        """Print a line on stderr. That nobody reads it is no error."""
        self.make_room()
        with contextlib.suppress(OSError):
            print(f"flowpi: {printable(message, None)}", file=sys.stderr)

    def make_room(self) -> None:
        """Remove the line of progress before something is printed."""
        self._progress.clear()

    def close(self) -> None:
        """Close the backends."""
        self.make_room()
        self._runner.run(self._backends.close())

    async def _hear(self, parts: Iterable[Part], sound: Sound, transcript: Transcript) -> None:
        utterance_id = self._ids.make(int(time.time() * 1000), os.urandom(10))

        def show(partial: PartialText | None = None, backend: str = "") -> None:
            length = f" of {clock(sound.expected_s)}" if sound.expected_s else ""
            heard = partial.text if partial else ""
            self._progress.show(f"{Path(sound.name).name}  {clock(transcript.until_s)}{length}", heard)

        for number, part in enumerate(parts, 1):
            show()
            utterance = Utterance(About(utterance_id, time.time(), part=number), pcm=part.pcm, complete=True)
            text, _, _ = await self._backends.text_of(utterance, show)
            transcript.add(part, text)
            # A session is part of a cycle of objects: without this, the audio of five parts waits for the collector.
            part.pcm.clear()
