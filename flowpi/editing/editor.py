"""Edits each final text once, between the recogniser and everybody who gets the text.

The rules and the client are imported late: who has the defaults does not pay for them at the start.
"""

import asyncio
import logging
from typing import TYPE_CHECKING

from flowpi.audio.utterance import PartId
from flowpi.config.text import RewriteSettings, TextSettings
from flowpi.host.logfields import fields
from flowpi.wire.roles import FinalText

if TYPE_CHECKING:
    from flowpi.core.text.language import Language
    from flowpi.core.text.rules import Rules
    from flowpi.editing.rewriter import Rewriter

log = logging.getLogger(__name__)

MOST_BYTES = 96 * 1024
"""The longest text that is edited: more than an hour of speech. With what it was before it still fits into the queue of
a client of the socket, and the rules do not burn the CPU for what nobody said."""


class EditedText(FinalText, frozen=True, kw_only=True):
    """A text that is not as the recogniser wrote it.

    `raw`: what it wrote. `rewritten`: a language model changed the text, too.
    """

    raw: str
    rewritten: bool = False


class Editor:
    """The rules and the language model of one configuration or profile. Call `edit` for each text, then `close`."""

    def __init__(self, settings: TextSettings) -> None:
        self._use(settings)

    def _use(self, settings: TextSettings) -> None:
        self._settings = settings
        self._rules: Rules | None = None
        self._rewriter = None if settings.rewrite.url is None else _make_rewriter(settings.rewrite)

    async def open(self) -> None:
        """Read and import what the first text will need, so that nobody waits for that. It works without, too."""
        try:
            if self._settings != TextSettings():
                await self._prepare(self._settings)
            if self._rewriter is not None:
                await self._rewriter.open()
        except Exception as error:  # an installation that lacks a file must not keep the daemon from running
            log.error("texts are not edited: internal error (%s)", type(error).__name__)

    async def apply(self, settings: TextSettings) -> None:
        """Edit by other settings from the next text on."""
        if settings != self._settings:
            old = self._rewriter
            self._use(settings)
            if old is not None:
                await old.close()
            await self.open()

    async def close(self) -> None:
        if self._rewriter is not None:
            await self._rewriter.close()

    async def edit(self, text: FinalText, part: PartId, *, late: bool) -> FinalText:
        """Return a text as people are to read it: an `EditedText`, or the same if nothing changes.

        The result depends on the recogniser's text alone, and on what the language model answers. Cancelling is safe.

        Args:
            late: nobody waits for this text any more.
        """
        if self._settings == TextSettings() or not text.text:
            return text
        try:
            return await self._edited(text, late)
        except Exception as error:  # a mistake in here must not cost a text; its message could quote one
            log.error("%s is not edited: internal error (%s)", part, type(error).__name__, extra=fields(part=part))
            return text

    async def _edited(self, text: FinalText, late: bool) -> FinalText:
        if len(text.text.encode()) > MOST_BYTES:
            return text
        rewriter, rules = self._rewriter, self._rules or await self._prepare(self._settings)
        # On a thread: a long text takes longer on a slow machine than the microphone's buffer lasts.
        edited = await asyncio.to_thread(rules.applied, text.text, text.language)
        rewritten = None
        if rewriter is not None and edited.strip():
            language = await asyncio.to_thread(_language, text.language)
            rewritten = await rewriter.rewritten(edited, language, late=late)
        changed = rewritten is not None and rewritten != edited
        edited = rules.ended(edited if rewritten is None else rewritten)
        if edited == text.text:
            return text
        return EditedText(edited, text.language, text.confirmed, raw=text.text, rewritten=changed)

    async def _prepare(self, settings: TextSettings) -> "Rules":
        rules = await asyncio.to_thread(_make_rules, settings)
        if settings is self._settings:  # no reload meanwhile
            self._rules = rules
        return rules


def _make_rewriter(settings: RewriteSettings) -> "Rewriter":
    from flowpi.editing.rewriter import Rewriter

    return Rewriter(settings)


def _make_rules(settings: TextSettings) -> "Rules":
    from flowpi.editing.tables import make_rules

    return make_rules(settings)


def _language(tag: str | None) -> "Language | None":
    """Return the tables for a text, or None if its language has none."""
    from flowpi.core.text.language import language_of
    from flowpi.editing.tables import languages

    known = languages()
    return known.get(language_of(tag, known) or "")
