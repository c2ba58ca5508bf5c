"""The check of topic filters in the configuration, where each message costs a request or the run of a program."""

from flowpi.core import topics


def unusable(topic_filter: str) -> tuple[str, str] | None:
    """Return what is wrong with a topic filter and what to do, or None."""
    if problem := topics.filter_error(topic_filter):
        return f"which is no topic filter ({problem})", "such as transcript/final"
    wanted = topics.matched([topic_filter])
    if not wanted:
        return "which matches no topic", f"name some of {', '.join(one for one in topics.ALL if one != topics.LEVEL)}"
    if topics.LEVEL in wanted:
        hint = "name the topics that you want, such as transcript/+ and state"
        return f"which matches {topics.LEVEL}, ten messages a second", hint
    return None
