"""Drives the appliance: receives events, carries out effects, and shows the state.

The table of `core/appliance.py` decides, and the conductor carries out. The inbox hands over one event at a time, in
order, including those that an effect causes. The light, the deadline and the `state` topic follow when no event is
left, so nobody sees a state that lasted no time; after a press they also follow the first steps of the delivery.
`announcer.py` announces what becomes of what was said. Everything runs on the event loop.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec import UNSET, structs

from flowpi.appliance import factory
from flowpi.appliance.announcer import Announcer
from flowpi.appliance.inbox import Inbox
from flowpi.appliance.protocols import Deliveries, Microphone
from flowpi.appliance.utterances import Utterances
from flowpi.audio.cues import Cue, Cues
from flowpi.audio.utterance import About, Utterance
from flowpi.config.schema import Config
from flowpi.core import topics
from flowpi.core.appliance import Grip, Idle, Recording, State, start, step
from flowpi.core.errors import MicrophoneError
from flowpi.core.events import (
    BeginPart,
    ButtonPressed,
    ButtonReleased,
    CancelCommanded,
    ChooseProfile,
    DeadlinePassed,
    DoubleTapped,
    DropUtterance,
    Effect,
    Event,
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
from flowpi.core.faults import MICROPHONE, SPOOL
from flowpi.core.gestures import Gesture, GestureKind, Gestures
from flowpi.core.hints import Hints
from flowpi.core.indicator import light, moment
from flowpi.core.lights import KEPT, STARTED, Pattern
from flowpi.core.rules import Rules
from flowpi.core.ulid import UlidFactory
from flowpi.host.logfields import fields
from flowpi.panel.button import Line
from flowpi.panel.led import LedPlayer
from flowpi.publish import messages
from flowpi.publish.hub import Hub

log = logging.getLogger(__name__)

NOTHING = Hints()

NO_ROOM = "neither disk nor memory has room for more: free some space, or see `flowpi spool list`"


class Conductor:
    """Call `open`, then `started` once everything that a dictation needs is open or known to be missing."""

    def __init__(
        self,
        rules: Rules,
        gestures: Mapping[Line, Gestures],
        *,
        inbox: Inbox,
        hub: Hub,
        microphone: Microphone,
        delivery: Deliveries,
        utterances: Utterances,
        announcer: Announcer,
        ids: UlidFactory,
        led_player: LedPlayer,
        cues: Cues,
        is_pressed: Callable[[Line], bool | None],
        profiles: Sequence[str] = (),
        on_state: Callable[[State, int], None],
    ) -> None:
        """
        Args:
            gestures: those of each contact.
            is_pressed: returns what a contact says now, as `flowpi.panel.button.Button.is_pressed`.
            profiles: the names of all that are configured, in their order.
            on_state: called with each new state, and with how many utterances wait for their text.
        """
        self._rules = rules
        self._gestures = gestures
        self._inbox = inbox
        self._hub = hub
        self._microphone = microphone
        self._delivery = delivery
        self._utterances = utterances
        self._announcer = announcer
        self._ids = ids
        self._led_player = led_player
        self._cues = cues
        self._is_pressed = is_pressed
        self._profiles = profiles
        self._on_state = on_state
        self._loop = asyncio.get_running_loop()
        self._state: State = start(self._loop.time())
        self._since = time.time()
        self._shown: tuple[Any, ...] = ()
        self._deadline: asyncio.TimerHandle | None = None
        self._gesture_timers: dict[Line, asyncio.TimerHandle] = {}
        self._pressed: Line = None
        """The contact of the last press: the end of any other press means nothing."""
        self._hints = NOTHING
        """The hints of the command that is being handled."""
        self._refusal: Refuse | None = None
        self._moment: Pattern | None = None
        """The pattern to show once, before the lasting one."""
        self._just_begun = False
        """Whether the delivery of an utterance began in this turn of the loop, and nothing has been shown since."""
        self._commands_only = True
        self._stopping = False
        self._ending: set[asyncio.Task[None]] = set()
        """The post-rolls that a tone waits for."""

    @property
    def state(self) -> State:
        return self._state

    def open(self) -> None:
        """Begin to handle events, and first those that wait in the inbox."""
        self._inbox.open(self._handle, self._refresh)

    def started(self) -> None:
        """Accept commands."""
        self._inbox.post(Started())

    def settled(self) -> None:
        """Accept presses: the button is open, or known to be missing. Show the start until it can have been seen."""
        self._commands_only = False
        self._led_player.show(self._light(), once=STARTED if isinstance(self._state, Idle) else None, at_once=False)

    def stop(self) -> None:
        """Show until the end that the appliance stops."""
        self._stopping = True
        self._led_player.show(self._light())

    async def quiet(self) -> None:
        """Wait until nothing is being recorded, post-rolls included."""
        while growing := self._utterances.growing():
            await growing[0].wait_complete()

    async def apply(self, config: Config) -> None:
        """Use the rules, gestures and profiles of a new configuration."""
        self._rules, self._gestures = factory.rules(config), factory.gestures(config)
        self._profiles = tuple(config.profiles)

    # What the user does.

    def command(self, event: Event, at: float | None = None, hints: Hints = NOTHING) -> Refuse | None:
        """Handle an event that a person caused, and all that follows from it. Return why it was refused, if it was.

        Args:
            at: when it happened; None for now.
            hints: go with the utterance that the event begins.
        """
        self._refusal, self._hints = None, hints
        self._inbox.post(event, at)
        return self._refusal

    @property
    def profiles(self) -> Sequence[str]:
        """The names of the profiles that are configured."""
        return self._profiles

    def edge(self, line: Line, pressed: bool, at: float) -> None:
        """A contact changed."""
        if line in self._gestures:  # of a driver that a reload replaces: none
            self._perform(line, self._gestures[line].edge(pressed, at))

    def new_id(self) -> str:
        """Return an id for the utterance that an event begins."""
        return self._ids.make(int(time.time() * 1000), os.urandom(10))

    # Events and effects.

    def _handle(self, event: Event, at: float) -> None:
        before = self._state
        self._state, effects = step(before, event, at, self._rules)
        if type(before) is not type(self._state):
            self._moment = None
        self._moment = moment(before, event, self._state, self._profiles) or self._moment
        for effect in effects:
            self._carry_out(effect, at)

    def _carry_out(self, effect: Effect, at: float) -> None:
        match effect:
            case StartRecording():
                self._start(effect, at)
            case ChooseProfile(utterance_id, profile, choosing):
                for utterance in self._utterances.parts(utterance_id)[-1:]:
                    utterance.choose(profile, choosing=choosing)
                    self._delivery.begin_again(utterance)
            case StopRecording(utterance_id):
                for utterance in self._utterances.parts(utterance_id)[-1:]:
                    utterance.released_at = at
                    self._ending.add(ending := asyncio.create_task(self._sound_the_end(utterance), name="end"))
                    ending.add_done_callback(self._ending.discard)
                    self._microphone.end(utterance, at)
            case BeginPart(utterance_id, part, by):
                self._begin_part(utterance_id, part, by)
            case TellLate(utterance_id):
                self._announcer.tell_late(utterance_id)
            case DropUtterance(utterance_id):
                for utterance in self._announcer.droppable(utterance_id):
                    self._microphone.drop(utterance)
                    self._announcer.cancelled(utterance)
                    self._delivery.drop(utterance.part_id)
                for waiting in self._delivery.waiting():  # earlier parts of it, kept for later
                    if waiting.part.utterance == utterance_id and not waiting.live:
                        log.info("%s: cancelled", waiting.part, extra=fields(part=waiting.part))
                        self._delivery.drop(waiting.part)
            case Mute():
                log.info("muted by a long press")
                self._microphone.close()
            case Unmute():
                log.info("unmuted by a long press")
                self._microphone.start()
            case Refuse():
                log.info("no dictation: %s", effect.message)
                self._refusal = effect

    def _start(self, effect: StartRecording, at: float) -> None:
        if self._delivery.memory_full:
            self._refuse(Refuse(SPOOL, NO_ROOM), at)
            return
        started_at = time.time() - (self._loop.time() - at)  # of the press, not of its handling
        about = About(effect.utterance, started_at, hints=self._hints, profile=effect.profile)
        utterance = Utterance(about, choosing=effect.choosing)
        try:
            self._microphone.begin(utterance, at)
        except MicrophoneError as error:
            self._refuse(Refuse(MICROPHONE, str(error)), at)  # the fault is on its way too
            return
        utterance.pressed_at = at
        self._announcer.begun(utterance)
        self._delivery.begin(utterance)
        self._just_begun = True
        self._cues.play(Cue.START)

    async def _sound_the_end(self, utterance: Utterance) -> None:
        """Not before: the post-roll belongs to the speech. Nor in that of a next one."""
        await utterance.wait_complete()
        if not isinstance(self._state, Recording) and not self._stopping:
            self._cues.play(Cue.ERROR if utterance.partial else Cue.STOP)

    def _refuse(self, refusal: Refuse, at: float) -> None:
        """Forget the recording that never was."""
        self._refusal = refusal
        self._inbox.post(CancelCommanded(), at)

    def _begin_part(self, utterance_id: str, part: int, by: float) -> None:
        if self._delivery.memory_full:
            log.warning("%s: the recording ends: %s", utterance_id, NO_ROOM, extra=fields(utterance=utterance_id))
            self._inbox.post(StopCommanded())
            return
        for utterance in self._utterances.parts(utterance_id)[-1:]:
            about = structs.replace(utterance.about, started_at=time.time(), part=part)
            following = Utterance(about)
            self._microphone.continue_in(utterance, following, by, partial(self._part_begun, following))

    def _part_begun(self, following: Utterance) -> None:
        following.about = structs.replace(following.about, started_at=time.time())
        self._announcer.begun(following)
        self._delivery.begin(following)

    # Gestures and deadlines.

    def _perform(self, line: Line, gestures: list[Gesture]) -> None:
        for gesture in gestures:
            self._hub.publish(topics.BUTTON, messages.ButtonPayload(gesture.kind.value, line or UNSET))
        for gesture in gestures:
            match gesture.kind:
                case GestureKind.PRESSED if self._is_held_by_another(line):
                    pass  # a finger that slipped onto it must not end what is being said
                case GestureKind.PRESSED:
                    self._pressed = line
                    self._cues.stop()
                    if self.command(ButtonPressed(self.new_id(), gesture.again, line), gesture.at):
                        self._cues.play(Cue.ERROR)
                    if isinstance(self._state, Recording) and self._state.grip is Grip.HELD:
                        self._gestures[line].spoken_into()
                case _ if line != self._pressed:
                    pass
                case GestureKind.DOUBLE:
                    self._inbox.post(DoubleTapped(), gesture.at)
                case GestureKind.RELEASED:
                    self._inbox.post(ButtonReleased(gesture.tap), gesture.at)
                case GestureKind.LONG:
                    self._inbox.post(LongPressed(), gesture.at)
                case _:
                    pass
        if (timer := self._gesture_timers.pop(line, None)) is not None:
            timer.cancel()
        if (deadline := self._gestures[line].next_deadline()) is not None:
            self._gesture_timers[line] = self._loop.call_at(deadline, self._gesture_deadline, line)

    def _is_held_by_another(self, line: Line) -> bool:
        """Return whether another button than `line` is held, and what is recorded goes on as long as it is."""
        held = self._gestures.get(self._pressed)
        is_other = line != self._pressed and held is not None and held.is_pressed
        return is_other and isinstance(self._state, Recording) and self._state.grip is not Grip.LATCHED

    def _gesture_deadline(self, line: Line) -> None:
        del self._gesture_timers[line]
        if line in self._gestures:  # a reload may have removed it
            look = partial(self._is_pressed, line)
            self._perform(line, self._gestures[line].handle_deadline(self._loop.time(), look))

    def _deadline_passed(self) -> None:
        self._deadline = None  # each new state has its own timer, so this is the deadline of the present one
        self._inbox.post(DeadlinePassed())

    # What everybody sees.

    def _refresh(self) -> None:
        """Bring the light, the `state` topic and the timer in line with the state, if it is another one."""
        if self._just_begun:
            # After the first steps of the tasks that the delivery has just made: the connection to the backend is what
            # takes long, so its first system calls come before the state, the light and the status.
            self._just_begun = False
            self._loop.call_soon(self._refresh)
            return
        state = self._state
        shown = (state, self._delivery.spooled)
        if shown == self._shown:
            return
        other = not self._shown or self._shown[0].name != state.name
        if other:
            self._since = time.time()
            log.debug("%s", state.name, extra=fields(state=state.name))
        self._shown = shown
        once, self._moment = self._moment, None
        if once is KEPT and isinstance(state, Idle):
            self._cues.play(Cue.KEPT)
        at_once = (other and not isinstance(state, Idle)) or self._stopping
        self._led_player.show(self._light(), once=once, at_once=at_once)
        self._hub.publish(topics.STATE, self.payload())
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if state.deadline is not None:
            self._deadline = self._loop.call_at(state.deadline, self._deadline_passed)
        self._on_state(state, self._delivery.spooled)

    def _light(self) -> Pattern:
        return light(self._state, commands_only=self._commands_only, stopping=self._stopping)

    def payload(self) -> messages.StatePayload:
        """Return the state as the topic `state` shows it."""
        wall_offset = time.time() - self._loop.time()
        faults = [
            messages.FaultPayload(fault.code, fault.message, messages.rfc3339(wall_offset + fault.since))
            for fault in self._state.faults
        ]
        utterance_id = getattr(self._state, "utterance", None)
        last = self._utterances.parts(utterance_id)[-1:] if utterance_id else []
        return messages.StatePayload(
            self._state.name,
            messages.rfc3339(self._since),
            utterance_id,
            self._delivery.backend,
            faults,
            self._delivery.spooled,
            next((one.about.profile for one in last), None) or UNSET,
        )
