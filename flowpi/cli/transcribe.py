"""`flowpi transcribe FILE...`: sends recordings to the configured backends, without a daemon or a spool."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec.structs import replace

from flowpi.audio.cutting import Part, cut, phrases, whole
from flowpi.audio.sound import Sound, open_sound
from flowpi.audio.utterance import About, Utterance
from flowpi.backends.chain import BackendChain, make_backends
from flowpi.cli.progress import Progress, clock
from flowpi.cli.transcript import Transcript, places
from flowpi.config.schema import Config
from flowpi.config.text import RewriteSettings
from flowpi.core.captions import FORMATS
from flowpi.core.errors import BackendError, CannotCreateError, DataError, NoInputError, NoPermissionError
from flowpi.core.safe_text import printable
from flowpi.core.ulid import UlidFactory
from flowpi.dsp.speech import SpeechLevel
from flowpi.editing.editor import Editor
from flowpi.wire.roles import PartialText


def transcribe(config: Config, files: Sequence[str], *, form: str = "txt", to: str | None = None) -> int:
    """Print the text of sound files; "-" is the standard input.

    As `txt`, a long file is sent in parts of `dictation.max_utterance_s`, cut in pauses, one line for each. The other
    formats have times: for them it is sent phrase by phrase. The texts are edited by the rules in `text`. What a file
    announces and does not have, speech too quiet to be understood, and that there was none, are told on stderr, and how
    far it is if that is a terminal.

    Args:
        form: a name in `FORMATS`.
        to: write each text to a file in this directory, with the name of the recording and `form` as extension, and
            print its path; it ends in `.part` if a backend fails before the end. None: print the texts.

    Returns:
        The exit code: 0, or that of the first file that cannot be used.

    Raises:
        UsageError, NoInputError: the texts cannot be put where they should be.
        BackendError: no backend returned a text. What was heard until then is written.
        OutputError: the disk behind the output is full.
    """
    code = 0
    left = list(zip(files, places(files, form, to), strict=True))
    with asyncio.Runner() as runner:
        transcriber = _Transcriber(config, runner, form)
        try:
            while left:
                file, place = left.pop(0)
                head = FORMATS[form].head(file)
                if place is None and form == "txt" and len(files) > 1:
                    head = f"==> {printable(file, None)} <==\n"
                try:
                    transcriber.transcribe(file, Transcript(FORMATS[form], head, place, transcriber.make_room))
                except (NoInputError, NoPermissionError, DataError, CannotCreateError) as error:
                    transcriber.say(str(error))  # the other files are not worse for it
                    code = code or error.exit_code
        except BackendError:
            if left:
                transcriber.say(f"not transcribed: {', '.join(repr(file) for file, _ in left)}")
            raise
        finally:
            transcriber.close()
    return code


class _Transcriber:
    """Transcribes one recording after the other through the same backends."""

    def __init__(self, config: Config, runner: asyncio.Runner, form: str) -> None:
        self._longest_s = config.dictation.max_utterance_s
        self._rule = phrases if FORMATS[form].timed else whole
        self._runner = runner
        self._backends: BackendChain = make_backends(config)
        # By the rules, without a language model: of a recording, people want to read what was said.
        self._editor = Editor(replace(config.text, rewrite=RewriteSettings()))
        self._ids = UlidFactory()
        # A file in JSON is one line, which grows on the terminal where the progress would be shown.
        self._progress = Progress(sys.stderr if form != "json" or not sys.stdout.isatty() else None)

    def transcribe(self, file: str, transcript: Transcript) -> None:
        """Write the text of a recording, and what is to be said about it.

        Raises:
            FlowpiError: there is no more of the text. What was heard is written.
        """
        with open_sound(file, pipes=True) as sound, transcript:
            level = SpeechLevel()
            parts = cut(level.measured(sound.blocks()), self._rule(self._longest_s))
            try:
                self._runner.run(self._hear(parts, sound, transcript))
            except BaseException as error:
                warnings = _too_quiet(sound, level)
                end = transcript.break_off(warnings)
                self._warn(warnings)
                if end:
                    self.say(f"the text of {sound.name!r} ends after {end}")
                if isinstance(error, asyncio.CancelledError):
                    raise KeyboardInterrupt from None
                raise
            warnings = sound.warnings() + _too_quiet(sound, level)
            transcript.finish(sound.read_s, warnings)
            self._warn(warnings)
            if not transcript.last:
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
        self._runner.run(self._editor.close())
        self._runner.run(self._backends.close())

    def _warn(self, warnings: Iterable[str]) -> None:
        for warning in warnings:
            self.say(f"warning: {warning}")

    async def _hear(self, parts: Iterable[Part], sound: Sound, transcript: Transcript) -> None:
        task = asyncio.current_task()
        assert task is not None
        for ending in (signal.SIGTERM, signal.SIGHUP):  # as for Ctrl-C: what was heard is written first
            asyncio.get_running_loop().add_signal_handler(ending, task.cancel)
        utterance_id = self._ids.make(int(time.time() * 1000), os.urandom(10))

        def show(partial: PartialText | None = None, backend: str = "") -> None:
            if partial:
                transcript.hear(partial.text)
            length = f" of {clock(sound.expected_s)}" if sound.expected_s else ""
            self._progress.show(f"{Path(sound.name).name}  {clock(transcript.until_s)}{length}", transcript.last)

        for number, part in enumerate(parts, 1):
            transcript.begin(part)
            show()
            utterance = Utterance(About(utterance_id, time.time(), part=number), pcm=part.pcm, complete=True)
            text, _, _ = await self._backends.text_of(utterance, show)
            text = await self._editor.edit(text, utterance.part_id, late=True)
            transcript.add(text)
            # A session is part of a cycle of objects: without this, the audio of five parts waits for the collector.
            part.pcm.clear()


def _too_quiet(sound: Sound, level: SpeechLevel) -> list[str]:
    """Return a warning if the speech is too quiet."""
    if not level.is_too_quiet:
        return []
    return [f"{sound.name!r} is so quiet ({level.speech_dbfs:.0f} dBFS) that words are lost: make it louder first"]
