"""Drives the appliance: events go in, effects are carried out, and everybody is told what it is now.

The table of `core/appliance.py` decides; this carries out. Events are worked off one at a time in order, also those
that an effect brings about; the light and the `state` topic follow when nothing is left to do, so nobody sees a state
that lasted no time. What becomes of what was said is told by `outcomes.py`. All on the event loop.
"""

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from msgspec import structs

from flowpi.appliance.outcomes import Outcomes
from flowpi.audio.capture import Capture
from flowpi.audio.cues import Cue, Cues, NoCues
from flowpi.audio.utterance import About, Utterance
from flowpi.core import topics
from flowpi.core.appliance import Grip, Idle, Recording, Rules, State, start, step
from flowpi.core.errors import MicrophoneError
from flowpi.core.events import (
    BeginPart,
    ButtonPressed,
    ButtonReleased,
    CancelCommanded,
    DeadlinePassed,
    DoubleTapped,
    DropUtterance,
    Effect,
    Event,
    FaultRaised,
    LongPressed,
    Mute,
    Refuse,
    Started,
    StartRecording,
    StopCommanded,
    StopRecording,
    TellLate,
    Unmute,
)
from flowpi.core.faults import MICROPHONE, MUTED, SILENCE, SPOOL
from flowpi.core.gestures import Gesture, GestureKind, Gestures
from flowpi.core.indicator import light, moment
from flowpi.core.lights import KEPT, STARTED, Pattern
from flowpi.core.ulid import UlidFactory
from flowpi.delivery.delivery import Delivery
from flowpi.dsp.level import Level
from flowpi.host.logfields import fields
from flowpi.panel.led import LedPlayer
from flowpi.publish import messages
from flowpi.publish.files import TextLog
from flowpi.publish.hub import Hub
from flowpi.wire.flow_messages import Context

log = logging.getLogger(__name__)

NO_NOISE = (
    "the microphone gives digital silence, without even noise: look for a mute switch, a loose cable, "
    "an input gain of zero, or a wrong audio.channel"
)
NOTHING = Context()

NO_ROOM = "neither disk nor memory has room for more: free some space, or see `flowpi spool list`"


class Conductor:
    """Call `open` with the parts that call back, before anything else. `cues`: none, until somebody sets others."""

    capture: Capture
    delivery: Delivery

    def __init__(
        self,
        rules: Rules,
        gestures: Gestures,
        *,
        hub: Hub,
        led_player: LedPlayer,
        ids: UlidFactory,
        transcripts: TextLog,
        on_state: Callable[[State, int], None],
    ) -> None:
        """`on_state` is told each new state, and how many utterances wait for their text."""
        self._gestures = gestures
        self._rules = rules
        self._hub = hub
        self._led_player = led_player
        self._ids = ids
        self._on_state = on_state
        self._loop = asyncio.get_running_loop()
        self._state: State = start(self._loop.time())
        self._since = time.time()
        self._events: deque[tuple[Event, float]] = deque()
        self._working = False
        self._shown: tuple[Any, ...] = ()
        self._deadline: asyncio.TimerHandle | None = None
        self._gesture_timer: asyncio.TimerHandle | None = None
        self.look: Callable[[], bool | None] = lambda: None
        """What the button's contact says now: see `flowpi.panel.button.Button.is_pressed`."""
        self._context = NOTHING
        """Of the event that is being worked off."""
        self._refusal: Refuse | None = None
        self._moment: Pattern | None = None
        """To be shown once, before what is."""
        self._commands_only = True
        self._stopping = False
        self.cues: Cues = NoCues()
        self._ending: set[asyncio.Task[None]] = set()
        """Post-rolls that a tone waits for."""
        self.outcomes = Outcomes(hub, transcripts, state=lambda: self._state, handle=self.handle, refresh=self._refresh)

    def open(self, capture: Capture, delivery: Delivery) -> None:
        self.capture = self.outcomes.capture = capture
        self.delivery = delivery
        self._refresh()
        self.outcomes.publish_stats()

    @property
    def state(self) -> State:
        return self._state

    @property
    def muted(self) -> bool:
        return self._state.has_fault(MUTED)

    def settled(self) -> None:
        """The button is there too, or is known to be missing: show that the appliance starts until it was seen."""
        self._commands_only = False
        self._led_player.show(self._light(), once=STARTED if isinstance(self._state, Idle) else None, at_once=False)

    def stop(self) -> None:
        """Show until the end that the appliance stops."""
        self._stopping = True
        self._led_player.show(self._light())

    async def quiet(self) -> None:
        """Until nothing is being recorded, post-rolls included."""
        while growing := self.outcomes.growing():
            await growing[0].wait_complete()

    def replace(self, rules: Rules, gestures: Gestures) -> None:
        """Use the rules and gestures of a new configuration."""
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
                before = self._state
                self._state, effects = step(before, event, at, self._rules)
                self._moment = moment(before, event, self._state) or self._moment
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
        self.outcomes.clear(MICROPHONE)

    def microphone_silent(self, silent: bool) -> None:
        if silent:
            for utterance in self.outcomes.growing():
                utterance.partial = True  # somebody went on speaking
            self.handle(FaultRaised(SILENCE, NO_NOISE))
        else:
            self.outcomes.clear(SILENCE)

    def panel_failed(self, part: str, error: Exception) -> None:
        """`part`: the code of the fault, `faults.BUTTON` or `faults.LED`."""
        log.warning("%s", error)
        self.handle(FaultRaised(part, str(error)))

    def panel_works(self, part: str) -> None:
        """As far as is known."""
        self.outcomes.clear(part)

    def level(self, level: Level) -> None:
        self._hub.publish(topics.LEVEL, level)

    # For the commands of the local socket.

    async def recorded(self, utterance_id: str) -> bool:
        """Whether all of its audio is on the disk, once it is known: recorded is what is there, not what was heard."""
        for utterance in self.outcomes.parts(utterance_id):
            await utterance.wait_complete()
        on_disk = await self.delivery.recorded(utterance_id)
        if not on_disk:
            log.warning("%s is in memory only", utterance_id, extra=fields(utterance=utterance_id))
        return on_disk

    def status(self) -> dict[str, Any]:
        return {"state": self._payload(), "stats": self.outcomes.stats(), "backlog": self._backlog()}

    def new_id(self) -> str:
        """For the utterance that an event begins."""
        return self._ids.make(int(time.time() * 1000), os.urandom(10))

    # Effects.

    def _carry_out(self, effect: Effect, at: float) -> None:
        match effect:
            case StartRecording(utterance_id):
                self._start(utterance_id, at)
            case StopRecording(utterance_id):
                for utterance in self.outcomes.parts(utterance_id)[-1:]:
                    utterance.released_at = at
                    self._ending.add(ending := asyncio.create_task(self._sound_the_end(utterance), name="end"))
                    ending.add_done_callback(self._ending.discard)
                    self.capture.end(utterance, at)
            case BeginPart(utterance_id, part, by):
                self._begin_part(utterance_id, part, by)
            case TellLate(utterance_id):
                self.outcomes.tell_late(utterance_id)
            case DropUtterance(utterance_id):
                for utterance in self.outcomes.droppable(utterance_id):
                    self.capture.drop(utterance)
                    self.outcomes.cancelled(utterance)
                    self.delivery.drop(utterance.part_id)
                for waiting in self.delivery.waiting():  # earlier parts of it, kept for later
                    if waiting.part.utterance == utterance_id and not waiting.live:
                        log.info("%s: cancelled", waiting.part, extra=fields(part=waiting.part))
                        self.delivery.drop(waiting.part)
            case Mute():
                log.info("muted by a long press")
                self.capture.close()
            case Unmute():
                log.info("unmuted by a long press")
                self.capture.start()
            case Refuse():
                log.info("no dictation: %s", effect.message)
                self._refusal = effect

    def _start(self, utterance_id: str, at: float) -> None:
        if self.delivery.memory_full:
            self._refuse(Refuse(SPOOL, NO_ROOM), at)
            return
        started_at = time.time() - (self._loop.time() - at)  # of the press, not of its handling
        utterance = Utterance(About(utterance_id, started_at, context=self._context))
        try:
            self.capture.begin(utterance, at)
        except MicrophoneError as error:
            self._refuse(Refuse(MICROPHONE, str(error)), at)  # the fault is on its way too
            return
        utterance.pressed_at = at
        self.outcomes.begun(utterance)
        self.delivery.begin(utterance)
        self.cues.play(Cue.START)

    async def _sound_the_end(self, utterance: Utterance) -> None:
        """Not before: the post-roll belongs to the speech. Nor in that of a next one."""
        await utterance.wait_complete()
        if not isinstance(self._state, Recording) and not self._stopping:
            self.cues.play(Cue.ERROR if utterance.partial else Cue.STOP)

    def _refuse(self, refusal: Refuse, at: float) -> None:
        """Forget the recording that never was."""
        self._refusal = refusal
        self._events.append((CancelCommanded(), at))

    def _begin_part(self, utterance_id: str, part: int, by: float) -> None:
        if self.delivery.memory_full:
            log.warning("%s: the recording ends: %s", utterance_id, NO_ROOM, extra=fields(utterance=utterance_id))
            self._events.append((StopCommanded(), self._loop.time()))
            return
        for utterance in self.outcomes.parts(utterance_id)[-1:]:
            about = About(utterance_id, time.time(), part, utterance.about.context)
            following = Utterance(about)
            self.capture.continue_in(utterance, following, by, partial(self._part_begun, following))

    def _part_begun(self, following: Utterance) -> None:
        following.about = structs.replace(following.about, started_at=time.time())
        self.outcomes.begun(following)
        self.delivery.begin(following)

    # Gestures and deadlines.

    def _perform(self, gestures: list[Gesture]) -> None:
        for gesture in gestures:
            self._hub.publish(topics.BUTTON, messages.ButtonPayload(gesture.kind.value))
        for gesture in gestures:
            match gesture.kind:
                case GestureKind.PRESSED:
                    self.cues.stop()
                    if self.handle(ButtonPressed(self.new_id(), gesture.again), gesture.at):
                        self.cues.play(Cue.ERROR)
                    if isinstance(self._state, Recording) and self._state.grip is Grip.HELD:
                        self._gestures.spoken_into()
                case GestureKind.DOUBLE:
                    self.handle(DoubleTapped(), gesture.at)
                case GestureKind.RELEASED:
                    self.handle(ButtonReleased(gesture.tap), gesture.at)
                case GestureKind.LONG:
                    self.handle(LongPressed(), gesture.at)
                case _:
                    pass
        if self._gesture_timer is not None:
            self._gesture_timer.cancel()
            self._gesture_timer = None
        if (deadline := self._gestures.next_deadline()) is not None:
            self._gesture_timer = self._loop.call_at(deadline, self._gesture_deadline)

    def _gesture_deadline(self) -> None:
        self._gesture_timer = None
        self._perform(self._gestures.handle_deadline(self._loop.time(), self.look))

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
            log.debug("%s", state.name, extra=fields(state=state.name))
        self._shown = shown
        once, self._moment = self._moment, None
        if once is KEPT and isinstance(state, Idle):
            self.cues.play(Cue.KEPT)
        self._led_player.show(
            self._light(),
            once=once if isinstance(state, Idle) else None,
            at_once=not isinstance(state, Idle) or self._stopping,
        )
        self._hub.publish(topics.STATE, self._payload())
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if state.deadline is not None:
            self._deadline = self._loop.call_at(state.deadline, self._deadline_passed)
        self._on_state(state, self.delivery.spooled)

    def _light(self) -> Pattern:
        return light(self._state, commands_only=self._commands_only, stopping=self._stopping)

    def _payload(self) -> messages.StatePayload:
        wall_offset = time.time() - self._loop.time()
        faults = [
            messages.FaultPayload(fault.code, fault.message, messages.rfc3339(wall_offset + fault.since))
            for fault in self._state.faults
        ]
        return messages.StatePayload(
            self._state.name,
            messages.rfc3339(self._since),
            getattr(self._state, "utterance", None),
            self.delivery.backend,
            faults,
            self.delivery.spooled,
        )

    def _backlog(self) -> messages.BacklogPayload:
        """Without what is being said, or was a moment ago."""
        waiting = [one for one in self.delivery.waiting() if not one.live and not one.deleting]
        oldest_at = messages.moment(waiting[0].part.utterance) if waiting else None
        return messages.BacklogPayload(len(waiting), oldest_at, sum(one.in_memory for one in waiting))
