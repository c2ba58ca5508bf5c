"""Keeps a microphone open, and opens it again after it was lost.

Theory of operation: the device is in one of five states.

    Closed    closed by `close`, until `start`
    Resting   closed while nobody needs it, until `wake`
    Open      open, and read by the capture
    Lost      failed; tried again when a timer fires
    Probing   a thread is trying whether it can be opened

Opening and closing a source can block for as long as its driver or its sound server is stuck. So a lost source is
opened, and a dead one closed, only after a thread has opened and closed the same device (`Source.trial`): once that has
returned, the driver and the server respond. A probe cannot be stopped: a device that is closed meanwhile stays Probing
until the probe ends.

A fault is reported once and stands until sound comes, because a device that opens may still be broken. As `Trouble`, it
is passed from state to state until then. Only if nobody reads the device is opening it enough.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import assert_never

from flowpi.audio.device_probe import DeviceProbe
from flowpi.audio.device_state import Closed, Lost, Open, Probing, Resting, State, Trouble, is_alive
from flowpi.audio.silence_watch import SilenceWatch
from flowpi.audio.source import Heard, Source
from flowpi.core.errors import MicrophoneError

log = logging.getLogger(__name__)

REOPEN_S = (0.5, 1.0, 1.5)
"""Waits before a lost device is tried again; the last one repeats. A device plugged in again is back within 2 s."""

AT_ONCE_S = 1.0
"""How long a stuck driver may block the loop: at the start, or at a press where no pre-roll keeps the device open."""


class Device:
    """A source that is opened, watched and reopened. It runs on the event loop and calls back on it."""

    def __init__(
        self,
        source: Source,
        *,
        on_open: Callable[[], None],
        on_stop: Callable[[], None],
        on_fault: Callable[[MicrophoneError], None],
        on_recovery: Callable[[], None],
        on_silence: Callable[[bool], None],
    ) -> None:
        """
        Args:
            on_open: called when `start`, or a try after a loss, has opened the device. Read it from now on, or `rest`.
            on_stop: called when the device stops being open, for whatever reason.
            on_fault, on_recovery, on_silence: those of `Capture`.
        """
        self._source = source
        self._on_open = on_open
        self._on_stop = on_stop
        self._on_fault = on_fault
        self._on_recovery = on_recovery
        self._silence_watch = SilenceWatch(source.name, on_silence)
        self._loop = asyncio.get_running_loop()
        self._state: State = Closed()

    @property
    def is_open(self) -> bool:
        return isinstance(self._state, Open)

    @property
    def is_started(self) -> bool:
        """Whether `start` was called after the last `close`."""
        match self._state:
            case Closed() | Probing(closed=True):
                return False
            case Resting() | Open() | Lost() | Probing():
                return True
            case never:
                assert_never(never)

    @property
    def refusal(self) -> MicrophoneError | None:
        """The reason why nothing can be recorded now, or None if the device rests or works."""
        match self._state:
            case Closed() | Probing(closed=True):
                return MicrophoneError(self._source.name, "it is closed")
            case Lost(trouble=trouble) | Probing(trouble=trouble) | Open(trouble=Trouble() as trouble):
                return trouble.error
            case Resting() | Open():
                return None
            case never:
                assert_never(never)

    def is_alive(self, now: float, read_every_s: float) -> bool:
        """Return `device_state.is_alive` for the current state."""
        return is_alive(self._state, now, read_every_s)

    def start(self) -> None:
        """Open the device, and call `on_open` once it is open. Harmless if it was started already."""
        match self._state:
            case Closed():
                self._open_at_once()
                if self.is_open:
                    self._on_open()
            case Probing() as probing:
                probing.closed = False
            case Resting() | Open() | Lost():
                pass
            case never:
                assert_never(never)

    def close(self) -> None:
        """Close the device until `start`. A device found dead is closed once its driver responds."""
        self._silence_watch.lost()
        match self._state:
            case Closed():
                pass
            case Resting():
                self._state = Closed()
            case Open(trouble=trouble):
                self._stop(Closed(trouble))
            case Lost(retry=retry, dead=True) as lost:
                retry.cancel()
                self._begin_probe(lost, closed=True)
            case Lost(trouble=trouble, retry=retry):
                retry.cancel()
                self._state = Closed(trouble)
            case Probing() as probing:
                probing.closed = True
            case never:
                assert_never(never)

    def wake(self) -> None:
        """Open the device if it rests."""
        if isinstance(self._state, Resting):
            self._open_at_once()

    def rest(self) -> None:
        """Close the device until `wake`, if it is open."""
        if self.is_open:
            self.confirm()
            self._stop(Resting())

    def read(self, now: float) -> list[Heard]:
        """Return what was heard since the last read: nothing if the device is not open, or turns out to be lost."""
        if not isinstance(state := self._state, Open):
            return []
        try:
            heard = self._source.read(now)
        except Exception as error:
            self._lose(self._explained(error, "see the journal"))
            return []
        if heard:
            state.heard_at = now
        elif state.is_dead(now):
            silent = MicrophoneError(self._source.name, "it delivers no sound", "plug it in again")
            self._lose(silent, dead=self._source.trial is not None)
        return heard

    def watch(self, pcm: bytes) -> None:
        """Check for digital silence in `pcm`, which was read before."""
        if self._source.has_noise:
            self._silence_watch.hear(pcm, self._loop.time())

    def confirm(self) -> None:
        """Report recovery if the device was in trouble: sound has come, and has been passed on."""
        if isinstance(self._state, Open) and self._state.trouble is not None:
            log.info("sound from %r again", self._source.name)
            self._state.trouble = None
            self._on_recovery()

    def revive(self) -> None:
        """Reopen the device if it has been silent for long enough: that wakes some USB microphones up."""
        if self.is_open and self._silence_watch.wants_reviving(self._loop.time()):
            log.info("reopening %r: it gives digital silence", self._source.name)
            self._stop(Resting())
            self._open()

    def _open_at_once(self) -> None:
        """Open the device for a caller who waits. A stuck driver blocks the loop for `AT_ONCE_S` at most."""
        if self._source.trial is None:
            self._open()
            return
        probe = DeviceProbe(self._source.trial)
        if not probe.wait(AT_ONCE_S):
            probe.call_back(self._probe_ended)
            error = MicrophoneError(self._source.name, "it does not answer", "start its sound server again")
            known = self._trouble()
            self._state = Probing(Trouble(error, known.tries if known else 0), probe)
            self._report(error, known)
        elif probe.error is not None:
            self._lose(self._explained(probe.error, "check audio.device"))
        else:
            self._open()

    def _open(self) -> None:
        try:
            self._source.open(self._loop.time())
        except Exception as error:
            self._lose(self._explained(error, "check audio.device"))
            return
        now = self._loop.time()
        self._state = Open(now, self._trouble())
        self._silence_watch.opened(now)

    def _stop(self, state: State) -> None:
        """Close the open source and continue in `state`."""
        self._state = state
        self._source.close()
        self._on_stop()

    def _lose(self, error: MicrophoneError, *, dead: bool = False) -> None:
        known, was_open = self._trouble(), self.is_open
        if not dead:
            self._source.close()
        tries = known.tries if known else 0
        retry = self._loop.call_later(REOPEN_S[min(tries, len(REOPEN_S) - 1)], self._retry)
        self._state = Lost(Trouble(error, tries + 1), retry, dead)
        if was_open:
            self._on_stop()
        self._report(error, known)

    def _report(self, error: MicrophoneError, known: Trouble | None) -> None:
        """Report `error`, unless the same reason is `known` already."""
        self._silence_watch.lost()
        if known is None or known.error.reason != error.reason:
            log.warning("%s", error)
            self._on_fault(error)

    def _retry(self) -> None:
        """Try a lost device again after its wait."""
        assert isinstance(self._state, Lost)
        if self._source.trial is None:
            self._reopen()
        else:
            self._begin_probe(self._state)

    def _begin_probe(self, lost: Lost, *, closed: bool = False) -> None:
        assert self._source.trial is not None
        probe = DeviceProbe(self._source.trial)
        probe.call_back(self._probe_ended)
        self._state = Probing(lost.trouble, probe, lost.dead, closed)

    def _probe_ended(self, probe: DeviceProbe) -> None:
        """Continue after a probe. Whatever it found, opening and closing will not block now."""
        probing = self._state
        assert isinstance(probing, Probing)
        if probing.dead:
            self._source.close()
        if probing.closed:
            self._state = Closed(probing.trouble)
        elif probe.error is None or probing.dead:  # a dead source was still open: that alone can make the device busy
            self._reopen()
        else:
            self._lose(self._explained(probe.error, "check audio.device"))

    def _reopen(self) -> None:
        self._open()
        if self.is_open:
            self._on_open()

    def _trouble(self) -> Trouble | None:
        return None if isinstance(self._state, Resting) else self._state.trouble

    def _explained(self, error: BaseException, hint: str) -> MicrophoneError:
        """Turn any exception of a driver into a MicrophoneError."""
        if isinstance(error, MicrophoneError):
            return error
        log.error("the microphone's driver failed", exc_info=error)
        return MicrophoneError(self._source.name, type(error).__name__, hint)
