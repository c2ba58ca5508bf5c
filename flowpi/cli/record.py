"""`flowpi record ACTION`: what the button does, as a command."""

from flowpi.client import DaemonConnection
from flowpi.config.schema import Config
from flowpi.core.errors import SpoolError


def record(config: Config, action: str) -> int:
    """Carry out an action and print the state of the daemon after it.

    Raises:
        SpoolError: the utterance has ended, but is in memory only.
    """
    with DaemonConnection(config) as connection:
        answer = connection.ask({"command": "record", "action": action})
        print(answer["state"])
    if answer.get("recorded") is False:
        raise SpoolError(
            "the disk did not take the sound: it is in memory only", "see `flowpi status`; the text may come"
        )
    return 0
