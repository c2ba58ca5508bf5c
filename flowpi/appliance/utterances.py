"""The open utterances of this run: those that are not delivered, deferred or dropped yet, part by part."""

from flowpi.audio.utterance import PartId, Utterance


class Utterances:
    """A registry. It starts empty: utterances of earlier runs are known to the delivery only."""

    def __init__(self) -> None:
        self._open: dict[PartId, Utterance] = {}

    def add(self, utterance: Utterance) -> None:
        """Register a part whose recording begins."""
        self._open[utterance.part_id] = utterance

    def remove(self, part: PartId) -> bool:
        """Forget a part. Return whether it was open, and no other part of its utterance is."""
        return self._open.pop(part, None) is not None and not self.parts(part.utterance)

    def parts(self, utterance_id: str) -> list[Utterance]:
        """Return the open parts of an utterance in order. The last one may still be recorded."""
        return [self._open[part] for part in sorted(self._open) if part.utterance == utterance_id]

    def growing(self) -> list[Utterance]:
        """Return the parts that are being recorded."""
        return [utterance for utterance in self._open.values() if not utterance.complete]
