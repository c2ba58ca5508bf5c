"""A health summary of one line, which `systemctl status flowpi` shows as the status of the unit. Pure."""

from flowpi.core.appliance import State
from flowpi.core.faults import by_urgency, kind_of

HEADLINES = {
    "starting": "starting",
    "idle": "ready",
    "recording": "recording",
    "finishing": "recorded, waiting for the text",
}
"""Headlines by the name of a state."""


def summary(state: State, spooled: int, last: str | None) -> str:
    """Return the summary.

    Args:
        spooled: how many utterances are kept for later.
        last: when the last recording ended, as local time; None if there was none since the start.
    """
    faults = by_urgency(state.faults)
    messages = list(dict.fromkeys(fault.message for fault in faults))  # one cause can be two faults
    headline = HEADLINES.get(state.name, state.name)
    if state.name == "idle" and faults:
        headline = kind_of(faults[0].code).headline or headline
    words = [headline, f"last dictation {last}" if last else "no dictation since the start"]
    if spooled:
        words.append(f"{spooled} kept for later")
    if messages:
        words.append(messages[0])
    if len(messages) > 1:
        words.append(f"{len(messages) - 1} more {'fault' if len(messages) == 2 else 'faults'}: see `flowpi status`")
    return "; ".join(words)
