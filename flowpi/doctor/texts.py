"""The check of what edits texts: the library for digits, and the server of the language model."""

import asyncio

from flowpi.config.schema import Config
from flowpi.config.secret import secrets
from flowpi.config.text import RewriteSettings
from flowpi.doctor.backends import ONLY_THE_SERVICE, is_the_services, use_credentials
from flowpi.doctor.findings import Finding, fine, skipped
from flowpi.editing.tables import GET_DIGITS, has_digits

PATIENCE_S = 10.0
"""The time limit for the server, which may have to wake up. It is asked which models it has, and nothing else."""


async def examine(config: Config) -> list[Finding]:
    """Return a finding for each part that is in use."""
    found = []
    profiles = {f"profiles.{name}.text": one.text for name, one in config.profiles.items() if one.text is not None}
    for part, text in {"text": config.text, **profiles}.items():
        if text.digits and not await asyncio.to_thread(has_digits):
            found.append(Finding(f"{part}.digits", "warning", "no_library", "text2num is not installed", GET_DIGITS))
        if text.rewrite.url is not None:
            found.append(await _look_at_server(f"{part}.rewrite", text.rewrite))
    return found


async def _look_at_server(part: str, settings: RewriteSettings) -> Finding:
    use_credentials()
    if any(map(is_the_services, secrets(settings))):
        return skipped(part, ONLY_THE_SERVICE)
    try:
        from flowpi.editing.chat import Chat, ChatError
    except ModuleNotFoundError as error:
        what = f"{error.name} is not installed"
        return Finding(part, "warning", "no_library", what, "pip install 'flowpi[web]'")
    chat = Chat(settings)
    try:
        async with asyncio.timeout(PATIENCE_S):
            models = await chat.models()
    except TimeoutError:
        hint = "check that it runs, and the network"
        return Finding(part, "warning", "route", f"the server gave no answer within {PATIENCE_S:g} s", hint)
    except ChatError as error:
        return Finding(part, "warning", error.code, f"the server is of no use: {error.message}", error.hint)
    finally:
        await chat.close()
    if models and not {settings.model, f"{settings.model}:latest"} & set(models):
        what = f"the server does not list the model {settings.model!r}"
        return Finding(part, "warning", "unknown_model", what, f"correct {part}.model, or load it there")
    return fine(part, "the server answers, and has the model" if models else "the server answers")
