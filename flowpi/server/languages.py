"""The languages of a model: what its files say, and what the configuration says."""

from flowpi.core.errors import EngineUnavailable

KEY = "server.languages"


def understood(configured: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    """Return the languages that an engine understands, ISO 639-1 codes, at least one.

    Args:
        configured: those that the configuration names; empty: all that the model knows.
        known: those that the model's files name; empty if the files do not say.

    Raises:
        EngineUnavailable: the model does not know a configured one, or nobody says which it knows.
    """
    if not configured and not known:
        raise EngineUnavailable("the model's files do not say its languages", f"let {KEY} name them, such as [en]")
    if known and (unknown := [language for language in configured if language not in known]):
        raise EngineUnavailable(
            f"{KEY}: the model does not understand {', '.join(unknown)}", f"it understands {', '.join(known)}"
        )
    return configured or known


def named(languages: tuple[str, ...]) -> str:
    """Return languages as a status line names them: `de, en`, or `99 languages`."""
    return ", ".join(languages) if len(languages) <= 5 else f"{len(languages)} languages"
