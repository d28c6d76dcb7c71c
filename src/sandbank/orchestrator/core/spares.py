"""Sandboxes made ahead of whoever wants them, for templates that have something running: a create then takes milliseconds."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from sandbank.aiokit.tasks import TaskGroup
from sandbank.domain.errors import InvalidError, SandbankError
from sandbank.runtime.driver import AgentInit, Driver, SandboxSpec


@dataclass(frozen=True, slots=True)
class SparesWish:
    """How many are wanted of the templates with these IDs, and of all others."""

    others: int = 0
    templates: Mapping[str, int] | None = None

    @classmethod
    def parse(cls, text: str) -> SparesWish:
        """From `2`, `my-template-id=3` or both with a comma; `InvalidError` for anything else."""
        others, templates = 0, {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            name, _, number = part.rpartition("=")
            if not number.strip().isdecimal():
                raise InvalidError(f"how many sandboxes to keep ready is a number, or a template's ID, `=` and a number, not {part!r}")
            if name:
                templates[name.strip()] = int(number)
            else:
                others = int(number)
        return cls(others, templates)

    def of(self, template_id: str) -> int:
        """For one template."""
        return (self.templates or {}).get(template_id, self.others)


class Spares:
    """Keeps as many as are wanted of each template that has been used since this node started, of its latest build."""

    def __init__(self, driver: Driver, wish: SparesWish, tasks: TaskGroup) -> None:
        self._driver = driver
        self._wish = wish
        self._tasks = tasks
        self._latest: dict[str, str] = {}
        self._filling: set[str] = set()
        self._log = structlog.get_logger("sandbank.orchestrator")

    def used(self, spec: SandboxSpec, snapshot_id: str) -> None:
        """A sandbox of that template was made from that snapshot; others like it may be wanted soon."""
        before = self._latest.get(spec.template_id)
        self._latest[spec.template_id] = snapshot_id
        if before not in (None, snapshot_id):
            self._tasks.start("remove spares", self._driver.remove_spares(before or ""))
        if snapshot_id not in self._filling and self._driver.count_spares(snapshot_id) < self._wish.of(spec.template_id):
            self._filling.add(snapshot_id)
            self._tasks.start("make spares", self._fill(spec, snapshot_id))

    async def _fill(self, wanted: SandboxSpec, snapshot_id: str) -> None:
        try:
            while self._driver.count_spares(snapshot_id) < self._wish.of(wanted.template_id):
                spec = SandboxSpec(
                    sandbox_id=f"spare{uuid.uuid4().hex[:15]}",
                    template_id=wanted.template_id,
                    execution_id=str(uuid.uuid4()),
                    layers=(),
                    limits=wanted.limits,
                    init=AgentInit(uuid.uuid4().hex, {}),
                    snapshot_id=snapshot_id,
                )
                before = self._driver.count_spares(snapshot_id)
                if not await self._driver.make_spare(spec) or self._driver.count_spares(snapshot_id) <= before:
                    return  # there is no room for more
        except SandbankError as error:
            self._log.warning("no sandbox could be made ahead", template_id=wanted.template_id, error=error.message)
        finally:
            self._filling.discard(snapshot_id)
