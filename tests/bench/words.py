"""The word errors of each model of the recogniser, and what it costs, over all prompts in the whole path.

    python -m tests.bench.words [--wrong] [--soft] [--model tiny]

`--wrong` prints each prompt that was heard wrong. `--soft` hears all of them as an I2S microphone does, near -60 dBFS
and with an offset. The figures of words are the same on every machine, but for a few
words that a processor's arithmetic decides.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests import models
from tests.prompts import prompts
from tests.rig import i2s
from tests.rig.transcribing import transcribed
from tests.speech import Recording, interval, total

MEMORY_MB = {"tiny": 230, "base": 300}
"""The resident set of the recogniser, at most."""

MODELS = {"tiny": models.tiny, "base": models.base}

CPU_RATIO_MAX = 1.6
"""The CPU time of base over that of tiny, for the same sound in the same run."""


@dataclass(frozen=True)
class Result:
    words: int
    errors: int
    rate: float
    low: float
    high: float
    """The bounds of the rate, with a confidence of 95 %."""
    cpu_s: float
    memory_mb: float
    """The resident set after the last."""


def measure(
    recordings: Sequence[Recording], *, wrong: bool = False, names: Sequence[str] = tuple(MODELS)
) -> dict[str, dict[str, float]]:
    """Return the fields of `Result` by model. All prompts together need two minutes of CPU time.

    Args:
        wrong: print each recording that was heard wrong.
        names: of the models.
    """
    results = {}
    for name in names:
        model = MODELS[name]
        with tempfile.TemporaryDirectory(prefix="flowpi-bench-") as directory:
            heard = transcribed(Path(directory), model(), recordings)
        if wrong:
            for said, text, errors in zip(recordings, heard.texts, heard.errors, strict=True):
                if errors.errors:
                    print(f"{name} {said.name} ({errors.errors})\n  said   {said.text}\n  heard  {text.strip()}")
        found, (low, high) = total(heard.errors), interval(heard.errors)
        results[name] = asdict(Result(found.words, found.errors, found.rate, low, high, heard.cpu_s, heard.memory_mb))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.words", description=__doc__.partition("\n")[0])
    parser.add_argument("--wrong", action="store_true", help="print what was heard wrong")
    parser.add_argument("--soft", action="store_true", help="as an I2S microphone hears them")
    parser.add_argument("--model", choices=MODELS, action="append", help="this model alone")
    options = parser.parse_args()
    recordings = [i2s.heard(one) for one in prompts()] if options.soft else prompts()
    results = measure(recordings, wrong=options.wrong, names=options.model or tuple(MODELS))
    print(f"{'model':8}{'words':>7}{'errors':>8}{'word errors':>13}{'95 %':>18}{'CPU':>10}{'memory':>10}")
    for name, r in results.items():
        between = f"{100 * r['low']:.2f} to {100 * r['high']:.2f} %"
        words = f"{name:8}{r['words']:7}{r['errors']:8}{100 * r['rate']:11.2f} %{between:>18}"
        print(f"{words}{r['cpu_s']:8.1f} s{r['memory_mb']:7.0f} MB")
    if len(results) > 1:
        print(f"base needs {results['base']['cpu_s'] / results['tiny']['cpu_s']:.2f} times the CPU time of tiny")


if __name__ == "__main__":
    main()
