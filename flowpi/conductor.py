"""Drives the appliance: events go in, effects are carried out, and everybody is told what it is now.

The table of `core/appliance.py` decides; this carries out. Events are worked off one at a time in order, also those
that an effect brings about; the light and the `state` topic follow when nothing is left to do, so nobody sees a state
that lasted no time. All on the event loop.
"""

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from msgspec.structs import replace

from flowpi.audio.capture import Capture
from flowpi.core import topics
from flowpi.core.appliance import MICROPHONE, Rules, State, start, step
from flowpi.core.errors import MicrophoneError, SpoolError
from flowpi.core.events import (
    ButtonPressed,
    ButtonReleased,
    CancelCommanded,
    DeadlinePassed,
    DeliveryDeferred,
    DoubleTapped,
    DropUtterance,
    Effect,
    Event,
    FaultCleared,
    FaultRaised,
    Refuse,
    Started,
    StartRecording,
    StopRecording,
    TextDelivered,
)
from flowpi.core.gestures import Gesture, Gestures, Kind
from flowpi.core.lights import BACKEND, BUTTON, LED, REFUSED, light
from flowpi.core.ulid import UlidFactory
from flowpi.dictation.delivery import Delivery
from flowpi.dictation.session import Timings
from flowpi.dictation.utterance import About, PartId, Utterance
from flowpi.dsp.level import Level
from flowpi.panel.led import Lamp
from flowpi.publish import messages
from flowpi.publish.hub import Hub
from flowpi.wire.flow_messages import Context
from flowpi.wire.roles import FinalText, PartialText

log = logging.getLogger(__name__)

SPOOL = "spool"
TRANSCRIPTS = "transcripts"

NOTHING = Context()

Commit = Callable[[messages.Final, float], Awaitable[None]]
"""Makes a final text durable; with the Unix time. Raises SpoolError."""


class Conductor:
    """Call `open` with the parts that call back, before anything else."""

    capture: Capture
    delivery: Delivery

    def __init__(
        self,
        rules: Rules,
        gestures: Gestures,
        *,
        hub: Hub,
        lamp: Lamp,
        ids: UlidFactory,
        commit: Commit,
        on_state: Callable[[State, int], None],
    ) -> None:
        """`on_state` is told each new state, and how many utterances wait for their text."""
        self._gestures = gestures
        self._rules = rules
        self._hub = hub
        self._lamp = lamp
        self._ids = ids
        self._commit = commit
        self._on_state = on_state
        self._loop = asyncio.get_running_loop()
        self._state: State = start(self._loop.time())
        self._since = time.time()
        self._events: deque[tuple[Event, float]] = deque()
        self._working = False
        self._shown: tuple[Any, ...] = ()
        self._deadline: asyncio.TimerHandle | None = None
        self._gesture_timer: asyncio.TimerHandle | None = None
        self._utterances: dict[str, Utterance] = {}
        """Those of this life that are not delivered, deferred or dropped."""
        self._context = NOTHING
        """Of the event that is being worked off."""
        self._refusal: Refuse | None = None
        self._said: set[str] = set()
        """Utterances whose text is out, but not safe yet: it is not said twice in one life."""
        self.stats = messages.Stats(messages.rfc3339(self._since))

    def open(self, capture: Capture, delivery: Delivery) -> None:
        self.capture = capture
        self.delivery = delivery
        self._refresh()
        self._hub.publish(topics.STATS, self._current_stats())

    @property
    def state(self) -> State:
        return self._state

    async def quiet(self) -> None:
        """Until nothing is being recorded, post-rolls included."""
        while growing := [utterance for utterance in self._utterances.values() if not utterance.complete]:
            await growing[0].wait_complete()

    def use(self, rules: Rules, gestures: Gestures) -> None:
        """After a change of the configuration."""
        self._rules, self._gestures = rules, gestures

    # Events.

    def handle(self, event: Event, at: float | None = None, context: Context = NOTHING) -> Refuse | None:
        """Work off an event and all that follows from it. Returns why it was refused.

        `at`: when it happened. `context`: goes with the utterance that it begins.
        """
        self._events.append((event, self._loop.time() if at is None else at))
        if self._working:
            return None
        self._working, self._refusal, self._context = True, None, context
        try:
            while self._events:
                event, at = self._events.popleft()
                self._state, effects = step(self._state, event, at, self._rules)
                for effect in effects:
                    self._carry_out(effect, at)
        finally:
            self._working = False
        self._refresh()
        return self._refusal

    def started(self) -> None:
        self.handle(Started())

    def edge(self, pressed: bool, at: float) -> None:
        """The button's contact changed."""
        self._perform(self._gestures.edge(pressed, at))

    def microphone_lost(self, error: MicrophoneError) -> None:
        self.handle(FaultRaised(MICROPHONE, str(error)))

    def microphone_back(self) -> None:
        self._clear(MICROPHONE)

    def panel_failed(self, part: str, error: Exception) -> None:
        """`part`: the code of the fault, `lights.BUTTON` or `lights.LED`."""
        log.warning("%s", error)
        self.handle(FaultRaised(part, str(error)))

    def panel_works(self) -> None:
        self._clear(BUTTON)
        self._clear(LED)

    def level(self, level: Level) -> None:
        self._hub.publish(topics.LEVEL, level)

    # For the commands of the local socket.

    async def recorded(self, utterance_id: str) -> None:
        """Until its audio is on the disk: recorded is what is there, not what was heard."""
        if (utterance := self._utterances.get(utterance_id)) is None:
            return
        await utterance.wait_complete()
        if utterance.durable is not None and not await asyncio.shield(utterance.durable):
            log.warning("%s is in memory only", utterance_id)

    def status(self) -> dict[str, Any]:
        return {"state": self._payload(), "stats": self._current_stats()}

    def new_id(self) -> str:
        """For the utterance that an event begins."""
        return self._ids.make(int(time.time() * 1000), os.urandom(10))

    # What becomes of an utterance: `flowpi.dictation.delivery.Audience`.

    def partial(self, utterance: Utterance, text: PartialText, backend: str) -> None:
        if self._hub.wants(topics.PARTIAL):
            about = utterance.about
            self._hub.publish(topics.PARTIAL, messages.Partial(about.id, about.part, text.text, text.language, backend))

    async def publish(self, utterance: Utterance, text: FinalText, backend: str, timings: Timings, late: bool) -> None:
        about, ended_at = utterance.about, utterance.completed_at
        final = messages.Final(
            about.id,
            about.part,
            text.text,
            text.language,
            backend,
            messages.rfc3339(about.started_at),
            round(utterance.duration_s, 3),
            None if ended_at is None else round(self._loop.time() - ended_at, 3),
            late,
            text.confirmed,
            utterance.partial,
            utterance.lost_frames // 16,
        )
        if about.id not in self._said:
            self._hub.publish(topics.FINAL, final)  # first of all: somebody waits for it
        self._said.add(about.id)
        published_at = self._loop.time()
        self._time(utterance, timings, published_at)
        log.info(
            "%s: %.1f s, %d characters from %r%s%s%s",
            about.id, utterance.duration_s, len(text.text), backend, ", late" if late else "",
            ", cut short" if utterance.partial else "", "" if text.confirmed else ", not confirmed",
        )  # fmt: skip
        try:
            await self._commit(final, time.time())
        except SpoolError as error:
            self.handle(FaultRaised(TRANSCRIPTS, str(error)))
            raise
        self._said.discard(about.id)
        self._clear(TRANSCRIPTS)

    def delivered(self, utterance: Utterance) -> None:
        self._utterances.pop(utterance.id, None)
        self.stats.delivered += 1
        self._clear(BACKEND)
        self.handle(TextDelivered(utterance.id))
        self._hub.publish(topics.STATS, self._current_stats())

    def deferred(self, utterance: Utterance, reason: str) -> None:
        self._utterances.pop(utterance.id, None)
        self.stats.deferred += 1
        if not self._state.has_fault(TRANSCRIPTS):  # else the text is there, and the disk does not take it
            self.handle(FaultRaised(BACKEND, reason))
        self.handle(DeliveryDeferred(utterance.id))
        self._hub.publish(topics.FAILED, messages.Failed(utterance.id, reason, retry=True))

    def parked(self, part: PartId, reason: str) -> None:
        self._hub.publish(topics.FAILED, messages.Failed(part.utterance, reason, retry=False))

    def backlog_changed(self) -> None:
        self._refresh()

    def refusals_changed(self, refusals: list[str]) -> None:
        message = "; ".join(refusals)
        if not message:
            self._clear(REFUSED)
        elif all(fault.message != message for fault in self._state.faults if fault.code == REFUSED):
            self.handle(FaultRaised(REFUSED, message))

    def spool_failed(self, error: SpoolError) -> None:
        self.handle(FaultRaised(SPOOL, str(error)))

    def spool_works(self) -> None:
        self._clear(SPOOL)

    def _clear(self, code: str) -> None:
        if self._state.has_fault(code):
            self.handle(FaultCleared(code))

    # Effects.

    def _carry_out(self, effect: Effect, at: float) -> None:
        match effect:
            case StartRecording(utterance_id):
                self._start(utterance_id, at)
            case StopRecording(utterance_id):
                if utterance := self._utterances.get(utterance_id):
                    utterance.released_at = at
                    self.capture.end(utterance, at)
            case DropUtterance(utterance_id):
                # A text that is out cannot be called back: its audio goes its way.
                if (utterance := self._utterances.get(utterance_id)) and utterance_id not in self._said:
                    log.info("%s: cancelled", utterance_id)
                    self.stats.cancelled += 1
                    self.capture.drop(utterance)
                    del self._utterances[utterance_id]
                    self.delivery.drop(utterance.part_id)
            case Refuse():
                log.info("no dictation: %s", effect.message)
                self._refusal = effect

    def _start(self, utterance_id: str, at: float) -> None:
        started_at = time.time() - (self._loop.time() - at)  # of the press, not of its handling
        utterance = Utterance(About(utterance_id, started_at, context=self._context))
        try:
            self.capture.begin(utterance, at)
        except MicrophoneError as error:
            # The fault is on its way, which ends the recording that never was; this forgets it.
            self._refusal = Refuse(MICROPHONE, str(error))
            self._events.append((CancelCommanded(), at))
            return
        utterance.pressed_at = at
        self._utterances[utterance_id] = utterance
        self.stats.dictations += 1
        self.delivery.begin(utterance)

    # Gestures and deadlines.

    def _perform(self, gestures: list[Gesture]) -> None:
        for gesture in gestures:
            self._hub.publish(topics.BUTTON, messages.Button(gesture.kind.value))
        double = any(gesture.kind is Kind.DOUBLE for gesture in gestures)
        for gesture in gestures:
            match gesture.kind:
                case Kind.PRESSED if not double:
                    self.handle(ButtonPressed(self.new_id()), gesture.at)
                case Kind.DOUBLE:
                    self.handle(DoubleTapped(), gesture.at)
                case Kind.RELEASED:
                    self.handle(ButtonReleased(gesture.tap), gesture.at)
                case _:
                    pass
        if self._gesture_timer is not None:
            self._gesture_timer.cancel()
            self._gesture_timer = None
        if (deadline := self._gestures.next_deadline()) is not None:
            self._gesture_timer = self._loop.call_at(deadline, self._gesture_deadline)

    def _gesture_deadline(self) -> None:
        self._gesture_timer = None
        self._perform(self._gestures.handle_deadline(self._loop.time()))

    def _deadline_passed(self) -> None:
        self._deadline = None  # each new state has its own timer, so this is the deadline of the present one
        self.handle(DeadlinePassed())

    # What everybody sees.

    def _refresh(self) -> None:
        """Bring the light, the `state` topic and the timer in line with the state, if it is another one."""
        state = self._state
        shown = (state, self.delivery.spooled)
        if shown == self._shown:
            return
        if not self._shown or self._shown[0].name != state.name:
            self._since = time.time()
            log.debug("%s", state.name)
        self._shown = shown
        self._lamp.show(light(state))
        self._hub.publish(topics.STATE, self._payload())
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if state.deadline is not None:
            self._deadline = self._loop.call_at(state.deadline, self._deadline_passed)
        self._on_state(state, self.delivery.spooled)

    def _payload(self) -> messages.State:
        wall_offset = time.time() - self._loop.time()
        faults = [
            messages.FaultPayload(fault.code, fault.message, messages.rfc3339(wall_offset + fault.since))
            for fault in self._state.faults
        ]
        return messages.State(
            self._state.name,
            messages.rfc3339(self._since),
            getattr(self._state, "utterance", None),
            self.delivery.backend,
            faults,
            self.delivery.spooled,
        )

    def _current_stats(self) -> messages.Stats:
        """A copy: what is published does not change any more."""
        return replace(self.stats, gaps=self.capture.gaps, lost_ms=self.capture.lost_frames // 16)

    def _time(self, utterance: Utterance, timings: Timings, published_at: float) -> None:
        def ms(start: float | None, stop: float | None) -> float | None:
            return None if start is None or stop is None else round((stop - start) * 1000, 1)

        if utterance.pressed_at is not None:
            self.stats.press_to_first_packet_ms = ms(utterance.pressed_at, timings.first_packet_at)
            self.stats.release_to_commit_ms = ms(utterance.released_at, timings.committed_at)
            self.stats.release_to_final_ms = ms(utterance.released_at, timings.final_at)
            self.stats.final_to_published_ms = ms(timings.final_at, published_at)
