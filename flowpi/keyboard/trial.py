"""Types a text once, as `flowpi keyboard test` does: with the rights of the service by the rules of udev."""

import asyncio
import os
import pwd
import signal

from flowpi.config.keyboard import KeyboardSettings
from flowpi.core.errors import KeyboardError, UnavailableError
from flowpi.core.typing.strokes import Typed
from flowpi.keyboard.chosen import output_of
from flowpi.keyboard.output import message
from flowpi.keyboard.procedure import Ended
from flowpi.keyboard.typist import Typist

USER = "flowpi-keyboard"

NEW_DEVICE_S = 1.0
"""How long a desktop may need to open a keyboard that has just been made; it would miss the first keys."""


def type_once(settings: KeyboardSettings, typed: Typed) -> None:
    """Type, at the pace of the settings. Root becomes the user of the service first, for good.

    Raises:
        KeyboardError: nothing can be typed, or not all; the message says how much was.
        UnavailableError: there is no user of the service.
    """
    if os.geteuid() == 0:
        become(USER)
    ended = asyncio.run(_type(settings, typed))
    if ended.reason is not None:
        what, hint = message(ended.reason)
        of = len(typed.ends)
        raise KeyboardError(ended.reason, f"typed {ended.characters} of {of} characters: {what}", hint)


def become(user: str) -> None:
    """Give up the rights of root for those of a user. Raises UnavailableError."""
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        hint = "`sudo flowpi setup` makes it, as the package does"
        raise UnavailableError(f"there is no user {user}, whose rights the test is for", hint) from None
    os.setgroups([])
    os.setgid(found.pw_gid)
    os.setuid(found.pw_uid)


async def _type(settings: KeyboardSettings, typed: Typed) -> Ended:
    typist = Typist(output_of(settings), settings.pace_ms / 1000)
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGHUP):  # the terminal may be closed while a key is down
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        typist.open()
        if settings.kind == "uinput":
            await asyncio.sleep(NEW_DEVICE_S)
        return await typist.type(typed.characters(), lambda: True)
    finally:
        typist.close()
