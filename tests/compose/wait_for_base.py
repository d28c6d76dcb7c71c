"""Waits until a sandbox of `base` can be created: the first start builds that template."""

from __future__ import annotations

import sys
import time

from e2b import Sandbox
from e2b.exceptions import SandboxException

from tests.product.instance import outside
from tests.product.serving import pointing_at

_SECONDS = 420


def main() -> None:
    """Exit code 1 when it takes too long, with the last error."""
    running = outside()
    assert running is not None
    end = time.monotonic() + _SECONDS
    with pointing_at(running):
        while True:
            try:
                Sandbox.create(timeout=30).kill()
            except SandboxException as error:
                if time.monotonic() > end:
                    sys.exit(f"no sandbox within {_SECONDS} s: {error}")
                time.sleep(2)
            else:
                return


if __name__ == "__main__":
    main()
