"""How pulls fail, in the words that E2B's clients and users know (contract templates-and-data §1.9, §1.12)."""

from __future__ import annotations

from sandbank.domain.errors import DeniedError, InvalidError, NotFoundError, SandbankError, UnavailableError


def of_status(image: str, status: int) -> SandbankError:
    """The registry said no, by an HTTP status."""
    if status == 404:
        return NotFoundError(f"image '{image}' not found: the image or tag does not exist in the registry")
    if status == 401:
        return DeniedError(f"access denied to '{image}': authentication required or insufficient permissions")
    if status == 403:
        return DeniedError(f"access denied to '{image}': you don't have permission to pull this image")
    return UnavailableError(f"failed to pull image '{image}': registry returned status code {status}")


def unreachable(image: str, why: str) -> UnavailableError:
    """There was no answer, or none that makes sense."""
    return UnavailableError(f"failed to pull image '{image}': unable to retrieve image from registry ({why})")


def dishonest(image: str, why: str) -> InvalidError:
    """What came is not what was announced, or not an image."""
    return InvalidError(f"failed to pull image '{image}': {why}")


def wrong_architecture(found: str, expected: str) -> InvalidError:
    """The image is for other machines."""
    return InvalidError(f'image architecture "{found}" does not match expected "{expected}"')


def too_large(size_bytes: int, limit_mb: int) -> InvalidError:
    """`size_bytes` are those that were seen before the rest was not looked at."""
    size = max(-(-size_bytes // 1_000_000), limit_mb + 1)
    return InvalidError(
        f"the uncompressed Docker image size ({size} MB) exceeds the maximum filesystem size ({limit_mb} MB)."
        " Please reduce your Docker image size (e.g. by a smaller base image, or by removing build dependencies and caches)"
    )
