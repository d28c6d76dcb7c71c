"""Archives of files for COPY steps: where clients put them, and their way to a node that builds (templates contract §1.2.6)."""

from __future__ import annotations

from collections.abc import AsyncIterator

from sandbank.api.core.builders import Builders, UploadLink, UploadOffer
from sandbank.api.core.template_directory import TemplateCaller, TemplateDirectory
from sandbank.api.core.template_recipe import require_files_hash
from sandbank.domain.errors import InternalError, NotFoundError, SandbankError


class TemplateFiles:
    """Offers uploads to the owners of templates, and takes them from whoever has a link."""

    def __init__(self, directory: TemplateDirectory, builders: Builders) -> None:
        self._directory = directory
        self._builders = builders

    async def offer(self, caller: TemplateCaller, template_id: str, files_hash: str) -> UploadOffer:
        """Where the archive may be put, and whether the team has it there already.

        `InvalidError`, `NotFoundError`, `NoBuilderError`; `InternalError` when the node that builds cannot say.
        """
        require_files_hash(files_hash)
        entry = await self._directory.find(template_id)
        if entry is None or entry.source != "template" or entry.team_id != caller.team.team_id:
            raise NotFoundError(f"Error when getting template: template '{template_id}' not found")
        machine = self._builders.choose(caller.team.team_id)
        try:
            return await self._builders.offer_upload(machine.node_id, template_id, caller.team.team_id, files_hash)
        except SandbankError as error:
            raise InternalError("Error when requesting layer files upload") from error

    async def upload(self, link: UploadLink, size_bytes: int, content: AsyncIterator[bytes]) -> None:
        """Store it: whole, or not at all. Errors as `Builders.upload`."""
        await self._builders.upload(link, size_bytes, content)
