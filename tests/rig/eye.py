"""What a user who knows the table of patterns sees on a single-colour LED: the current pattern, and those shown once.

It is recognised by its rhythm alone, with the tolerance that a busy machine needs: one change may be late, and the next
one in time.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean, median

from flowpi.core.lights import ALL, LISTENING, MOMENTS, READY, Pattern
from tests.rig.machine import Edge

LOOK_S = 3.5
"""The duration that shows any continuous pattern: the slowest repeats after 3 s."""

LATE_S = 0.07
"""The largest average deviation in time of the changes."""

LATEST_S = 0.15
"""The largest deviation in time of a single change."""

CLEARER = 2
"""A short sample may match two patterns; the better match counts if it is this many times better."""


def seen(edges: Sequence[Edge], since: float, until: float) -> Pattern | None:
    """Return the pattern that was shown from `since` to `until`, or None if it is none, or the time is too short.

    Args:
        edges: the changes in order, each to another level, beginning before `since`; before the first it is dark.
    """
    inside = [edge for edge in edges if since < edge.at <= until]
    if inside:
        going_on = [pattern for pattern in ALL if pattern not in MOMENTS]
        apart = {pattern.name: _apart(pattern, inside, since, until) for pattern in going_on}
        best, next_best = sorted(going_on, key=lambda pattern: apart[pattern.name])[:2]
        return best if apart[best.name] < LATE_S and CLEARER * apart[best.name] < apart[next_best.name] else None
    if until - since < LOOK_S:
        return None
    before = [edge for edge in edges if edge.at <= since]
    return LISTENING if before and before[-1].level else READY


def may_be(pattern: Pattern, edges: Sequence[Edge], since: float, until: float) -> bool:
    """Return whether a pattern that changes may be the one that was shown, in a time too short to tell it from all."""
    return _apart(pattern, [edge for edge in edges if since < edge.at <= until], since, until) < LATE_S


def moments(edges: Sequence[Edge], since: float) -> list[tuple[float, Pattern]]:
    """Return the patterns that were shown once after `since`, each with its beginning.

    While "configuration" is shown, each of its ends looks like "kept": so call it only after a dictation has ended.

    Args:
        edges: as for `seen`, up to some time after the last of these patterns.
    """
    found = []
    for first in edges:
        for moment in MOMENTS:
            flips, duration_s = _flips(moment)
            begun = first.at - flips[0].at
            inside = [edge for edge in edges if first.at <= edge.at < begun + duration_s - LATEST_S]
            if begun > since - LATEST_S and first.level and len(inside) == len(flips):
                late = _late(inside, flips)
                if max(late) - min(late) < LATEST_S:
                    found.append((begun, moment))
    return found


def _flips(pattern: Pattern) -> tuple[list[Edge], float]:
    """Return the changes in one cycle of a pattern, none if it is steady, and the length of the cycle."""
    flips, at = [], 0.0
    for (before, _), (level, seconds) in pairwise([pattern.steps[-1], *pattern.steps]):
        if level != before:
            flips.append(Edge(at, int(level)))
        at += seconds
    return flips, at


def _apart(pattern: Pattern, edges: Sequence[Edge], since: float, until: float) -> float:
    """Return the average deviation of the edges from a pattern, in the phase that fits best at the first of them.

    It is infinite if the pattern cannot be the one that was shown.
    """
    flips, cycle_s = _flips(pattern)
    turns = len(edges) // len(flips) + 3 if flips else 0
    due = [Edge(flip.at + turn * cycle_s, flip.level) for turn in range(turns) for flip in flips]
    least = math.inf
    for first in range(1, len(flips) + 1):
        wanted = due[first : first + len(edges)]
        late = _late(edges, wanted)
        begun = median(late)
        before, after = begun + due[first - 1].at, begun + due[first + len(edges)].at
        if wanted[0].level == edges[0].level and before < since + LATEST_S and after > until - LATEST_S:
            least = min(least, fmean(abs(one - begun) for one in late))
    return least


def _late(edges: Sequence[Edge], due: Sequence[Edge]) -> list[float]:
    return [edge.at - flip.at for edge, flip in zip(edges, due, strict=True)]
