"""The topics under which messages are published, and the topic filters of MQTT.

Source of the filter rules: MQTT 3.1.1, section 4.7.
"""

from collections.abc import Iterable

AVAILABILITY = "availability"
STATE = "state"
PARTIAL = "transcript/partial"
FINAL = "transcript/final"
FAILED = "transcript/failed"
BUTTON = "event/button"
LEVEL = "level"
STATS = "stats"
SINKS = "sinks"

ALL = (AVAILABILITY, STATE, PARTIAL, FINAL, FAILED, BUTTON, LEVEL, STATS, SINKS)

RETAINED = frozenset({AVAILABILITY, STATE, STATS, SINKS})
"""The topics whose last message is delivered to each new subscriber."""


def filter_error(topic_filter: str) -> str | None:
    """Return what is wrong with a filter, or None: `#` only as the last level, `+` only as a whole level, not empty."""
    if not topic_filter:
        return "a filter is at least one character"
    if "\0" in topic_filter or len(topic_filter.encode(errors="surrogatepass")) > 65_535:
        return "a filter has no NUL and at most 65535 bytes"
    levels = topic_filter.split("/")
    for level in levels[:-1]:
        if "#" in level:
            return "'#' stands only at the end"
    if any("+" in level and level != "+" for level in levels):
        return "'+' stands for a whole level"
    if "#" in levels[-1] and levels[-1] != "#":
        return "'#' stands for whole levels"
    return None


def matches(topic_filter: str, topic: str) -> bool:
    """Whether a valid filter matches a topic. A wildcard at the first level matches no topic that begins with `$`."""
    if topic.startswith("$") and topic_filter[:1] in ("+", "#"):
        return False
    wanted, levels = topic_filter.split("/"), topic.split("/")
    for at, want in enumerate(wanted):
        if want == "#":
            return True
        if at == len(levels) or want not in ("+", levels[at]):
            return False
    return len(wanted) == len(levels)


def matched(filters: Iterable[str]) -> list[str]:
    """Return the topics of `ALL` that at least one valid filter matches."""
    wanted = list(filters)
    return [topic for topic in ALL if any(matches(one, topic) for one in wanted)]
