"""Requests about the transcripts: pages of texts, and those in which something was said."""

import asyncio
from typing import Any

from msgspec import UnsetType

from flowpi.core.errors import SpoolError
from flowpi.core.moments import PROGRAM_FORMS, span_ms
from flowpi.core.ulid import is_ulid
from flowpi.publish import pages
from flowpi.publish.files import Transcripts
from flowpi.publish.history import History
from flowpi.publish.messages import Problem, Request, TextId

MAX_LISTED = 500
"""The most texts in one answer."""

TEXT_BYTES = 1024
"""The longest text to look for: it is looked for in every text that there is."""

SEARCHES = 2
"""The most searches at once: each reads on the thread that writes the transcripts."""


class TextRequests:
    """The requests to a running daemon."""

    def __init__(self, history: History, transcripts: Transcripts) -> None:
        self._history = history
        self._transcripts = transcripts
        self._searching = asyncio.Semaphore(SEARCHES)

    async def handle(self, request: Request) -> dict[str, Any] | Problem:
        """Return the members of the response, or what is wrong with the request."""
        query = _query(request)
        if isinstance(query, Problem):
            return query
        try:
            async with self._searching:
                page = await pages.find(self._history, self._transcripts, query)
        except SpoolError as error:
            code = "not_permitted" if isinstance(error.__cause__, PermissionError) else "transcripts"
            return Problem(code, str(error))
        return {"transcripts": page.texts, "more": page.more}


def _query(request: Request) -> pages.Query | Problem:
    """Return what a request asks for, or what is wrong with it."""
    after = None
    if not isinstance(request.after, UnsetType):
        if not isinstance(request.after, TextId) or not is_ulid(request.after.id):
            return Problem("bad_request", "after is the id and the part of a text")
        after = request.after
    if not 1 <= request.limit <= MAX_LISTED:
        return Problem("bad_request", f"limit is from 1 to {MAX_LISTED}")
    if request.order not in ("newest", "oldest"):
        return Problem("bad_request", "order is one of: newest, oldest")
    if len(request.text.encode(errors="replace")) > TEXT_BYTES:
        return Problem("bad_request", "text is at most 1 KiB long")
    moments: dict[str, int] = {}
    for name, at, text in (("since", 0, request.since), ("until", 1, request.until)):
        if text is not None:
            try:
                moments[f"{name}_ms"] = span_ms(text)[at]
            except (ValueError, OverflowError):
                return Problem("bad_request", f"{name} is {PROGRAM_FORMS}")
    return pages.Query(after, request.limit, request.text, newest=request.order == "newest", **moments)
