"""Commands that come from the broker: which are obeyed, and where the answer goes.

Who may publish to the topic `command` may start the microphone. So nothing is obeyed that the configuration does not
name, nothing that the broker is to keep, or had kept, for later, and never anything that deletes audio.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeGuard

import msgspec

from flowpi.core.errors import SinkError
from flowpi.core.safe_text import escaped
from flowpi.publish.messages import Problem, Request
from flowpi.publish.mqtt.outgoing import Outgoing
from flowpi.publish.socket_client import Command

log = logging.getLogger(__name__)

ACTIONS: Mapping[str, frozenset[str]] = {
    "record": frozenset({"start", "stop", "toggle", "cancel"}),
    "spool": frozenset({"retry"}),
}
"""The actions of each command that `publish.mqtt.commands` may name. `spool drop` is not among them."""

MAX_RUNNING = 8
"""The most commands that are not answered yet."""


class Commands:
    """Obeys the commands of one connection. `close` gives up what is not answered yet."""

    def __init__(
        self,
        allowed: Sequence[str],
        execute: Command,
        response_topic: str,
        reserved: Sequence[str],
        send: Callable[[Outgoing], None],
    ) -> None:
        """
        Args:
            allowed: `publish.mqtt.commands`.
            execute: carries out a request.
            response_topic: where answers go if the sender names no topic that may be used.
            reserved: at and below these topics no sender gets an answer: others believe what is said there.
            send: sends an answer. May raise SinkError.
        """
        self._allowed = allowed
        self._execute = execute
        self._response_topic = response_topic
        self._reserved = reserved
        self._send = send
        self._running: set[asyncio.Task[None]] = set()

    def receive(self, payload: bytes, *, retained: bool, answer_to: str | None, correlation: bytes | None) -> None:
        """Obey a command, and answer it when it is done.

        Args:
            retained: whether the broker keeps the message: whoever sent it did not mean this moment only.
            answer_to: the response topic of the message.
            correlation: its correlation data, which goes back with the answer.
        """
        if retained:
            log.warning("a command that the broker keeps is not obeyed: send commands without the retain flag")
            return
        topic = answer_to if _usable(answer_to, self._reserved) else self._response_topic
        answer = Outgoing(topic, b"", correlation=correlation)
        request = _request(payload, self._allowed)
        if isinstance(request, Problem):
            self._answer(answer, None, request)
        elif len(self._running) >= MAX_RUNNING:
            self._answer(answer, request.request, Problem("busy", "too many commands are not answered yet"))
        else:
            task = asyncio.create_task(self._obey(request, answer), name="MQTT command")
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    def close(self) -> None:
        """Answer nothing any more. What was begun is still done."""
        for task in self._running:
            task.cancel()

    async def _obey(self, request: Request, answer: Outgoing) -> None:
        try:
            done = await self._execute(request)
        except Exception:
            log.exception("the command %s failed", request.command)
            done = Problem("internal", "flowpi could not do that: see its journal")
        self._answer(answer, request.request, done)

    def _answer(self, answer: Outgoing, request: Any, done: dict[str, Any] | Problem) -> None:
        if isinstance(done, Problem):
            members: dict[str, Any] = {"ok": False, "error": done}
        else:
            members = {"ok": True, **done}
        payload = escaped(msgspec.json.encode({"response": request, **members}))
        try:
            self._send(msgspec.structs.replace(answer, payload=payload))
        except SinkError as error:
            log.debug("not answered: %s", error)


def _request(payload: bytes, allowed: Sequence[str]) -> Request | Problem:
    """Return a command that may be obeyed, or what is wrong with it."""
    try:
        request = _decoder.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return Problem("bad_request", "a command is a JSON object, as on the socket")
    if not isinstance(request.command, str) or request.command not in allowed:
        return Problem("not_allowed", f"commands by MQTT: {', '.join(allowed) or 'none'} (publish.mqtt.commands)")
    if request.action not in ACTIONS[request.command]:
        return Problem("not_allowed", f"actions by MQTT: {', '.join(sorted(ACTIONS[request.command]))}")
    if request.wait:  # the answer would carry what was said, to a topic that the sender chooses
        return Problem("not_allowed", "wait is not possible by MQTT: the text comes in transcript/final")
    return request


def _usable(topic: str | None, reserved: Sequence[str]) -> TypeGuard[str]:
    """Return whether an answer can be published to a response topic, and may be."""
    if not topic or "+" in topic or "#" in topic or "\0" in topic or topic.startswith("$"):
        return False
    return not any(f"{topic}/".startswith(f"{one}/") for one in reserved)


_decoder = msgspec.json.Decoder(Request)
