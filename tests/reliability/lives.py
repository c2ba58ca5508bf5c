"""An appliance that runs many times: each run ends by force, and the next one starts on what the last one left."""

import select
import time
from collections.abc import Sequence
from pathlib import Path

from tests.rig.appliance import Appliance, Process
from tests.rig.speaker import Gone, Speaker, Verdict, judge
from tests.waiting import PATIENCE_S

SPEECH_S = 0.05
"""The length of one dictation without its pre-roll."""

SILENT_BYTES = 1000
"""The size up to which a spool file has a header and no sound."""


class Lives:
    """The runs of one daemon, which records from the microphone `clock`, and one server that reports what it heard."""

    def __init__(
        self,
        directory: Path,
        *settings: str,
        program: Sequence[str] = ("-m", "tests.rig.led"),
        config: Path | None = None,
    ) -> None:
        """
        Args:
            directory: made here; its name must be short, because the paths of sockets are in it.
            program: the program to run instead of `flowpi run`, with the file of the LED before its options.
        """
        directory.mkdir()
        quick = ("audio.device=clock", "audio.preroll_ms=100", "audio.postroll_ms=0", *settings)
        self.appliance = Appliance(directory, *quick)
        self._program = program
        self._config = ["--config", str(config)] if config else []
        self.led = directory.with_name(f"led-{directory.name}")  # outside, because it is no part of what is kept
        self.speaker = Speaker(self.appliance.socket)
        self.daemon: Process | None = None
        self.unreadable: set[str] = set()
        """The names in the spool that may stay there."""
        self.starts_s: list[float] = []
        """The time that each run needed to get ready."""

    def serve(self) -> None:
        """Start the backend. Until then what is said is kept for later."""
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
        """Begin the next run, which may have ended already when this returns."""
        if self.daemon is not None:
            self.daemon.close()
        command = [*self._program, str(self.led), *self.appliance.options, *self._config]
        self.daemon = Process(command, self.appliance.directory, environment or {})
        return self.daemon

    def start(self, environment: dict[str, str] | None = None) -> Process:
        """Begin the next run, and wait until it is ready."""
        began = time.monotonic()
        daemon = self.spawn(environment)
        daemon.notice("READY=1")
        self.starts_s.append(time.monotonic() - began)
        return daemon

    def speak_until_death(self, daemon: Process) -> None:
        """Dictate without a pause as long as the daemon runs."""
        try:
            self.speaker.connect(lambda: daemon.process.poll() is None)
            while True:
                self.speaker.dictate(SPEECH_S)
        except Gone:
            daemon.process.wait(PATIENCE_S)

    def last_words(self) -> Verdict:
        """Run once more undisturbed, so that everything owed is delivered, and return what is missing."""
        self.start()
        self.deliver()
        assert self.daemon is not None
        assert self.daemon.end() == 0
        return judge(self.speaker.said, self.appliance.transcripts())

    def deliver(self) -> None:
        """Wait until the spool holds only what cannot be read, or until nothing has left it for a long time."""
        kept, since = self.appliance.spooled(), time.monotonic()
        while set(kept) - self.unreadable and time.monotonic() - since < PATIENCE_S:
            select.select([], [], [], 0.02)
            if (now := self.appliance.spooled()) != kept:
                kept, since = now, time.monotonic()

    def in_quarantine(self) -> list[str]:
        """Return the files with sound in quarantine, which somebody would have to look at."""
        return sorted(
            file.name for file in self.appliance.spool.glob("quarantine/*") if file.stat().st_size > SILENT_BYTES
        )
