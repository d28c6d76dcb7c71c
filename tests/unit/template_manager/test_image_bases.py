"""What was pushed is for the template that it was pushed for, whatever an order calls its image."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbank.domain.errors import DeniedError, InvalidError
from sandbank.template_manager.adapters.image_bases import ImageBases, PushedImages
from sandbank.template_manager.core.order import V2_1, BuildOrder
from sandbank.template_manager.settings import TemplateSettings
from sandbank.template_manager.wiring import build_images

PUSHED = PushedImages("registry.internal", "custom-envs", is_plain=True)


def order(image: str) -> BuildOrder:
    return BuildOrder("t", "b", "team", "team", V2_1, 2, 512, 512, image=image)


@pytest.mark.parametrize("host", ["registry.internal", "REGISTRY.internal", "registry.internal:80", "registry.internal:443"])
async def test_nobody_names_an_image_that_somebody_pushed(tmp_path: Path, host: str) -> None:
    bases = ImageBases(build_images(tmp_path, TemplateSettings(), trusted=(PUSHED.trusted,)), PUSHED)
    with pytest.raises(DeniedError, match="you don't have permission to pull this image"):
        await bases.get(order(f"{host}/custom-envs/other:1"), print)


async def test_what_is_no_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="invalid image reference"):
        await ImageBases(build_images(tmp_path, TemplateSettings()), PUSHED).get(order("NO NAME"), print)
