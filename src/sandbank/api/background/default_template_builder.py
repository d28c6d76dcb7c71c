"""Has an installation's default templates built, and built again when what they are made of has changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from sandbank.api.core.default_templates import DefaultState, DefaultTemplate, DefaultTemplates
from sandbank.domain.errors import InternalError, SandbankError

_LOOK_SECONDS = 1.0
_FIRST_PAUSE_SECONDS = 2.0
_LONGEST_PAUSE_SECONDS = 600.0


class DefaultTemplateBuilder:
    """One after the other, until each is ready. What fails is tried again, with pauses that grow up to ten minutes."""

    name = "default-templates"

    def __init__(
        self,
        templates: DefaultTemplates,
        wanted: Sequence[DefaultTemplate],
        on_ready: Callable[[str], None],
        on_error: Callable[[str, BaseException], None],
    ) -> None:
        self._templates = templates
        self._wanted = wanted
        self._on_ready = on_ready
        self._on_error = on_error

    async def run(self) -> None:
        """Until cancelled."""
        for one in self._wanted:
            await self._build(one)
        await asyncio.Event().wait()

    async def _build(self, wanted: DefaultTemplate) -> None:
        pause, was_building, retry = _FIRST_PAUSE_SECONDS, False, True
        while True:
            try:
                state = await self._templates.ensure(wanted, retry=retry)
                if state is DefaultState.FAILED:
                    raise InternalError("its build has failed")
            except SandbankError as error:
                self._on_error(f"default template {wanted.alias}", error)
                await asyncio.sleep(pause)
                pause, retry = min(2 * pause, _LONGEST_PAUSE_SECONDS), True
                continue
            if state is DefaultState.READY:
                if was_building:
                    self._on_ready(wanted.alias)
                return
            was_building, retry = True, False
            await asyncio.sleep(_LOOK_SECONDS)
