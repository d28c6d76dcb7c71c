"""Files of images keep the capabilities that a sandbox can have, and no others."""

from __future__ import annotations

from sandbank.registry.layer_tree import CAPABILITIES
from sandbank.runtime.linux.privileges import KEPT_MASK


def test_images_may_have_what_sandboxes_have() -> None:
    assert sum(1 << number for number in CAPABILITIES) == KEPT_MASK
