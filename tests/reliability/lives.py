"""An appliance that lives many times: each life ends by force, and the next one is on what the last one left."""

import select
import time
from collections.abc import Sequence
from pathlib import Path

from tests.rig.appliance import Appliance, Process
from tests.rig.speaker import Gone, Speaker, Verdict, judge
from tests.waiting import PATIENCE_S

SPEECH_S = 0.05
"""Of one dictation; the pre-roll comes on top."""

SILENT_BYTES = 1000
"""Of a spool file: about an utterance, and nothing of it."""


class Lives:
    """The daemon hears the microphone `clock`; the server, which stays alive, tells what it heard."""

    def __init__(
        self,
        directory: Path,
        *settings: str,
        program: Sequence[str] = ("-m", "tests.rig.led"),
        config: Path | None = None,
    ) -> None:
        """`directory`: to be made; a short name, since paths of sockets are in it. `program`: what is run instead of
        `flowpi run`, with the file of the LED before its options."""
        directory.mkdir()
        quick = ("audio.device=clock", "audio.preroll_ms=100", "audio.postroll_ms=0", *settings)
        self.appliance = Appliance(directory, *quick)
        self._program = program
        self._config = ["--config", str(config)] if config else []
        self.led = directory.with_name(f"led-{directory.name}")  # outside: it is no part of what is kept
        self.speaker = Speaker(self.appliance.socket)
        self.daemon: Process | None = None
        self.unreadable: set[str] = set()
        """Names in the spool that need not leave it."""
        self.starts_s: list[float] = []
        """How long each took to be ready."""

    def serve(self) -> None:
        """The backend. Until then what is said is kept for later."""
        command = ["-m", "tests.rig.hearing", "serve", "--set", "server.engine=echo"]
        self.appliance.server = Process(
            [*command, "--listen", f"unix:{self.appliance.asr}"], self.appliance.directory, {}
        )
        self.appliance.server.notice("READY=1")

    def close(self) -> None:
        self.speaker.close()
        if self.daemon is not None:
            self.daemon.close()
        self.appliance.__exit__(None, None, None)

    def spawn(self, environment: dict[str, str] | None = None) -> Process:
        """The next life, which may already be over when this returns."""
        if self.daemon is not None:
            self.daemon.close()
        command = [*self._program, str(self.led), *self.appliance.options, *self._config]
        self.daemon = Process(command, self.appliance.directory, environment or {})
        return self.daemon

    def start(self, environment: dict[str, str] | None = None) -> Process:
        """The next life, until it is ready."""
        began = time.monotonic()
        daemon = self.spawn(environment)
        daemon.notice("READY=1")
        self.starts_s.append(time.monotonic() - began)
        return daemon

    def speak_until_death(self, daemon: Process) -> None:
        """Dictate without a pause for as long as the daemon lives."""
        try:
            self.speaker.connect(lambda: daemon.process.poll() is None)
            while True:
                self.speaker.dictate(SPEECH_S)
        except Gone:
            daemon.process.wait(PATIENCE_S)

    def last_words(self) -> Verdict:
        """One more life, undisturbed, that works off what is owed; then it is told whether that was all."""
        self.start()
        self.deliver()
        assert self.daemon is not None
        assert self.daemon.end() == 0
        return judge(self.speaker.said, self.appliance.transcripts())

    def deliver(self) -> None:
        """Until nothing is left in the spool but what nobody can read, or nothing has left it for long."""
        kept, since = self.appliance.spooled(), time.monotonic()
        while set(kept) - self.unreadable and time.monotonic() - since < PATIENCE_S:
            select.select([], [], [], 0.02)
            if (now := self.appliance.spooled()) != kept:
                kept, since = now, time.monotonic()

    def in_quarantine(self) -> list[str]:
        """What somebody would have to look after by hand: files with sound in them."""
        return sorted(
            file.name for file in self.appliance.spool.glob("quarantine/*") if file.stat().st_size > SILENT_BYTES
        )
