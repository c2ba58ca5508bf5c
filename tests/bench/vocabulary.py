"""What a list of 200 phrases costs the recogniser, in CPU time beside the same speech without one, and what it gains.

python -m tests.bench.vocabulary
"""

import time
from dataclasses import dataclass
from pathlib import Path

from flowpi.core.phrases import MOST
from flowpi.server.model_files import Models
from flowpi.server.moonshine import Model
from tests import models
from tests.names import NAMES, SENTENCES, counted, spoken
from tests.speech import two_cities

ROUNDS = 4

_MORE = (
    f"{beginning}{end}"
    for beginning in ("Bran", "Cor", "Del", "Fen", "Gal", "Hor", "Jen", "Kal", "Lor", "Mer")
    for end in ("wick", "ston", "dale", "ford", "lyn", "marsh", "grove", "vale", "ham", "berry", "thorpe")
)
PHRASES = (*NAMES, *_MORE)[:MOST]


@dataclass(frozen=True)
class Cost:
    """Of one model. CPU times are of decoding the opening of a book, in pieces between its pauses."""

    cpu_s: float
    cpu_with_phrases_s: float
    names: int
    """How many of the names that a voice says are right."""
    names_with_phrases: int


def measure(rounds: int = ROUNDS) -> dict[str, Cost]:
    """Return the costs by the name of the model: base only where `make test` has converted it."""
    found = {"tiny": models.tiny()} | ({"base": models.base()} if models.BASE.is_dir() else {})
    return {name: _cost(chosen, rounds) for name, chosen in found.items()}


def _cost(chosen: Models, rounds: int) -> Cost:
    model = Model(Path(chosen.model or ""))
    pieces = [two_cities().part(*times) for times in ((0.7, 10.7), (10.7, 20.9), (20.9, 28.6))]
    model.transcribe(pieces[0], phrases=PHRASES)
    spent_s = {(): 0.0, PHRASES: 0.0}
    for _ in range(rounds):  # in turns, so that whatever else the machine does weighs on both
        for piece in pieces:
            for phrases in spent_s:
                began_s = time.thread_time()
                model.transcribe(piece, phrases=phrases)
                spent_s[phrases] += time.thread_time() - began_s
    right = [
        counted({name: model.transcribe(spoken(text), phrases=phrases) or "" for name, text in SENTENCES.items()}).right
        for phrases in spent_s
    ]
    return Cost(spent_s[()], spent_s[PHRASES], *right)


def main() -> None:
    for name, cost in measure().items():
        ratio = cost.cpu_with_phrases_s / cost.cpu_s
        names = f"{cost.names} -> {cost.names_with_phrases} of {len(SENTENCES)}"
        print(f"{name}: {cost.cpu_s:.2f} -> {cost.cpu_with_phrases_s:.2f} s of CPU ({ratio:.2f}), names right {names}")


if __name__ == "__main__":
    main()
