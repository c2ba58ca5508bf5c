"""How the appliance does, in one line for a person: the status of the unit in `systemctl status flowpi`. Pure."""

from flowpi.core.appliance import MICROPHONE, MUTED, Fault, State
from flowpi.core.lights import is_quiet

HEADLINES = {
    "starting": "starting",
    "idle": "ready",
    "recording": "recording",
    "finishing": "recorded, waiting for the text",
}
"""By the name of a state; any other speaks for itself."""


DEAF = {MUTED: "muted", MICROPHONE: "not ready"}
"""By the code of a fault that lets nobody dictate. Being muted is none, but told as one."""


def _urgency(fault: Fault) -> tuple[int, bool, float]:
    return (list(DEAF).index(fault.code) if fault.code in DEAF else len(DEAF), is_quiet(fault.code), fault.since)


def summary(state: State, spooled: int, last: str | None) -> str:
    """The line.

    Args:
        spooled: how many utterances are kept for later.
        last: when the last recording ended, in the words of a person's clock; None if there was none since the start.
    """
    faults = sorted(state.faults, key=_urgency)
    messages = list(dict.fromkeys(fault.message for fault in faults))  # one thing can be two faults
    headline = HEADLINES.get(state.name, state.name)
    if state.name == "idle":
        headline = next((DEAF[fault.code] for fault in faults if fault.code in DEAF), headline)
    words = [headline, f"last dictation {last}" if last else "no dictation since the start"]
    if spooled:
        words.append(f"{spooled} kept for later")
    if messages:
        words.append(messages[0])
    if len(messages) > 1:
        words.append(f"{len(messages) - 1} more {'fault' if len(messages) == 2 else 'faults'}: see `flowpi status`")
    return "; ".join(words)
