"""What becomes of each dictation of this run, for clients that wait for its end.

The announcer reports what happens to the parts. A dictation ends when its last open part does, or as soon as it is
clear that its text comes later: nobody should wait for that.
"""

import asyncio

from flowpi.publish.messages import DictationEnding


class _Open:
    """A dictation with open parts."""

    def __init__(self) -> None:
        self.texts: dict[int, str] = {}
        self.kept = ""
        self.failed = ""
        self.ending: asyncio.Future[DictationEnding] = asyncio.get_running_loop().create_future()


class Endings:
    """Call `begun` for each dictation, then what becomes of its parts, then `ended`. Runs on the event loop."""

    def __init__(self) -> None:
        self._open: dict[str, _Open] = {}

    def begun(self, utterance_id: str) -> None:
        """A part of a dictation begins."""
        self._open.setdefault(utterance_id, _Open())

    def text(self, utterance_id: str, part: int, text: str) -> None:
        """A part has its text."""
        if one := self._open.get(utterance_id):
            one.texts[part] = text

    def kept(self, utterance_id: str, reason: str) -> None:
        """The text of a part comes later. Who waits is told at once."""
        if one := self._open.get(utterance_id):
            one.kept = reason
            if not one.ending.done():
                one.ending.set_result(DictationEnding("kept", [], reason))

    def failed(self, utterance_id: str, reason: str) -> None:
        """No text comes of a part."""
        if one := self._open.get(utterance_id):
            one.failed = reason

    def ended(self, utterance_id: str) -> None:
        """No part of a dictation is open any more."""
        if (one := self._open.pop(utterance_id, None)) is None or one.ending.done():
            return
        texts = [text for _, text in sorted(one.texts.items())]
        if texts:
            one.ending.set_result(DictationEnding("text", texts))
        elif one.failed:
            one.ending.set_result(DictationEnding("failed", [], one.failed))
        else:
            one.ending.set_result(DictationEnding("cancelled", []))

    def of(self, utterance_id: str) -> asyncio.Future[DictationEnding] | None:
        """Return the ending of a dictation with open parts, to wait for; None for any other.

        The future is shared: shield it.
        """
        one = self._open.get(utterance_id)
        return None if one is None else one.ending
