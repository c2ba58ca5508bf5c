"""The subject of a log line as fields of the journal: `log.info("...", extra=fields(part=part, backend=name))`.

The values are names that flowpi made or the user configured: never dictated text, never a secret, never what a peer
sent. If the log is not the journal, they cost nothing and are not shown.
"""

import enum
from typing import Any


class MessageId(enum.Enum):
    """The log lines that a program may wait for: `journalctl MESSAGE_ID=...`. An id never changes its meaning.

    `systemd/flowpi.catalog` explains each to the user, with what to do, in `journalctl -x`; a test compares the two.
    """

    STARTED = "ed30943e7f034c49b54eac4e0125aa6b"
    """The daemon accepts presses and commands."""

    STOPPED = "162d6742cd4b4d0f9624331ab299a705"
    """The daemon ends because it was asked to."""

    DELIVERED = "05534c731d914092a8e0d9a44a952080"
    """A dictation has its text, while the user was waiting for it."""

    KEPT = "32c76583057947e397e141eaf487774d"
    """No backend has returned the text yet: the sound is kept, and the text comes later."""

    LATE = "8cd2de9d09bd4efa8794b0972c642178"
    """A dictation that was kept has its text."""

    FAILED = "8362e4cdffa4465f8042cef57aac27b5"
    """A dictation has no text, or its sound is lost; nothing more is done about it by itself."""

    FAULT_RAISED = "88f84901f9e14e92b1c40d8469e14748"
    """Something is wrong from now on; `FAULT` is its code in the topic `state`."""

    FAULT_CLEARED = "d620713bc3924afcbd8c54acb6390d5c"
    """A fault is over; `FAULT` is its code."""

    RELOADED = "c974b6478ba14cc88fd32b5077698d40"
    """A changed configuration is in force."""

    NOT_RELOADED = "2e10511c9ae44696a5f9779036f5dd82"
    """A changed configuration is invalid; the one before stays in force."""

    TEXT_PARKED = "cb66cf9b0d734a1d86fd3c510246796f"
    """A sink will not receive a text by itself, because it refused it or somebody skipped it."""

    TEXTS_EXPIRED = "ed1fcaf06c2a47188c07e4a3d8862a6b"
    """Texts were deleted before a sink had them, because they were older than `publish.max_lag_days`."""

    COMMAND_GAVE_UP = "9a2bacf421204bb3ba06f755a0f2563d"
    """`flowpi hook` gave up a text: the command failed at it too often, or somebody skipped it."""

    COMMAND_NOT_STARTED = "59a1852b97294450883b3a48c08aadbe"
    """`flowpi hook` cannot start the command; texts wait for it."""

    NOT_TYPED = "83a2bbb307154fb7829c2d69b53b718d"
    """`flowpi keyboard` did not type a text, or not to its end."""

    DAEMON_ABSENT = "0910e9b99fa54178b3befc31c558adb5"
    """`flowpi hook` has found no daemon for half a minute."""


def fields(
    event: MessageId | None = None,
    *,
    part: tuple[str, int] | None = None,
    utterance: str | None = None,
    backend: str | None = None,
    state: str | None = None,
    fault: str | None = None,
) -> dict[str, Any]:
    """Return the `extra` of a log call.

    Args:
        event: what happened, as MESSAGE_ID.
        part: the part of an utterance that the line is about, as UTTERANCE_ID and PART.
        utterance: the utterance that the line is about as a whole, as UTTERANCE_ID.
        backend: the name of a backend in the configuration, as BACKEND.
        state: the state of the appliance, as STATE.
        fault: the code of a fault, as FAULT.
    """
    found = {
        "MESSAGE_ID": event and event.value,
        "UTTERANCE_ID": part[0] if part else utterance,
        "PART": str(part[1]) if part else None,
        "BACKEND": backend,
        "STATE": state,
        "FAULT": fault,
    }
    return {"journal": {name: value for name, value in found.items() if value is not None}}
