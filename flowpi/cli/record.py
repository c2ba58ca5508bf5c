"""`flowpi record ACTION`: what the button does, as a command."""

import sys
from typing import Any

from flowpi.cli.terminal import print_safely
from flowpi.client import DaemonConnection
from flowpi.config.schema import Config
from flowpi.core.errors import DataError, NoInputError, SpoolError, TryAgainError, UsageError
from flowpi.core.safe_text import one_line


def record(config: Config, action: str, *, wait: bool = False, profile: str | None = None) -> int:
    """Carry out an action and print the state of the daemon after it.

    Args:
        profile: the name of the profile of the dictation that the action begins.
        wait: wait for the text of the dictation that the action ends, and print it instead, one line for each part. A
            toggle that begins a dictation prints the state on stderr.

    Raises:
        SpoolError: the utterance has ended, but is in memory only.
        TryAgainError: the text comes later.
        NoInputError: nothing was being recorded, or it was cancelled meanwhile.
        DataError: no text comes of it.
        UsageError: an action that ends no dictation with `wait`, or begins none with `profile`.
    """
    if profile is not None and action not in ("start", "toggle"):
        raise UsageError(f"--profile is for a beginning, and `record {action}` is none", "use it with start or toggle")
    if wait and action not in ("stop", "toggle"):
        raise UsageError(f"--wait waits for a text, and `record {action}` gives none", "use it with stop or toggle")
    request: dict[str, Any] = {"command": "record", "action": action}
    if profile is not None:  # a daemon of before does not know the member
        request["profile"] = profile
    with DaemonConnection(config) as connection:
        if wait:
            answer = connection.ask({**request, "wait": True}, timeout_s=None)
            _print_text(answer)
            return 0
        answer = connection.ask(request)
        print(answer["state"])
    if answer.get("recorded") is False:
        raise SpoolError(
            "the disk did not take the sound: it is in memory only", "see `flowpi status`; the text may come"
        )
    return 0


def _print_text(answer: dict[str, Any]) -> None:
    match answer.get("ending"):
        case {"outcome": "text", "texts": texts}:
            for text in texts:
                print_safely(one_line(text))
        case {"outcome": "kept", "reason": reason}:
            raise TryAgainError(f"no text now ({reason})", "it comes later by itself: `flowpi listen --text` prints it")
        case {"outcome": "cancelled"}:
            raise NoInputError("the dictation was cancelled", "record it again")
        case {"reason": reason}:
            raise DataError(f"no text comes of the dictation ({reason})", "see `flowpi spool list`")
        case _ if answer["state"] == "recording":
            print("recording", file=sys.stderr)
        case _:
            raise NoInputError("nothing was being recorded", "begin with `flowpi record start`")
