"""The editors of all profiles: each text is edited by the rules of the profile that it was dictated with."""

import asyncio
import logging

from flowpi.audio.utterance import About, PartId
from flowpi.config.schema import Config
from flowpi.config.text import TextSettings
from flowpi.editing.editor import Editor
from flowpi.host.logfields import fields
from flowpi.wire.roles import FinalText

log = logging.getLogger(__name__)


class Editors:
    """One editor for the section `text`, and one for each profile with rules of its own. Use it as an `Editor`."""

    def __init__(self, config: Config) -> None:
        self._names = frozenset(config.profiles)
        self._editors = {profile: Editor(settings) for profile, settings in _settings(config).items()}

    async def open(self) -> None:
        """Prepare all of them: see `Editor.open`."""
        await asyncio.gather(*(editor.open() for editor in self._editors.values()))

    async def apply(self, config: Config) -> None:
        """Edit by a new configuration from the next text on."""
        before, wanted = self._editors, _settings(config)
        self._names = frozenset(config.profiles)
        self._editors = {profile: before.get(profile) or Editor(settings) for profile, settings in wanted.items()}
        for profile, editor in self._editors.items():
            if profile in before:
                await editor.apply(wanted[profile])
            else:
                await editor.open()
        for profile in before.keys() - wanted.keys():
            await before[profile].close()

    async def close(self) -> None:
        await asyncio.gather(*(editor.close() for editor in self._editors.values()))

    async def edit(self, text: FinalText, about: About, *, late: bool) -> FinalText:
        """Return a text as people are to read it: see `Editor.edit`."""
        part = PartId(about.id, about.part)
        if about.profile is not None and about.profile not in self._names:
            what = "%s: the profile %.64r is not configured any more: its text is as without a profile"
            log.warning(what, part, about.profile, extra=fields(part=part))
        editor = self._editors.get(about.profile) or self._editors[None]
        return await editor.edit(text, part, late=late)


def _settings(config: Config) -> dict[str | None, TextSettings]:
    settings: dict[str | None, TextSettings] = {None: config.text}
    return settings | {name: profile.text for name, profile in config.profiles.items() if profile.text is not None}
