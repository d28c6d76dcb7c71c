"""The images that orders name, and those that were pushed for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sandbank.domain.errors import DeniedError, InvalidError, UnavailableError
from sandbank.registry.credentials import AwsCredentials, BasicCredentials, GcpCredentials, RegistryCredentials
from sandbank.registry.reference import parse_reference
from sandbank.template_manager.adapters.base_images import BaseImages
from sandbank.template_manager.core.order import BuildOrder
from sandbank.template_manager.core.ports import Base


@dataclass(frozen=True, slots=True)
class PushedImages:
    """The registry that `docker push` ends in: `host[:port]`, and what comes before `<templateID>:<buildID>` there."""

    host: str
    prefix: str
    username: str = ""
    password: str = field(default="", repr=False)
    is_plain: bool = False

    @property
    def trusted(self) -> str:
        """As limits of pulls have it: it may well be on this machine."""
        return f"http://{self.host}" if self.is_plain else self.host


class ImageBases:
    """Implements `sandbank.template_manager.core.ports.Bases`; without `pushed` there is nothing that could have been pushed."""

    def __init__(self, images: BaseImages, pushed: PushedImages | None) -> None:
        self._images = images
        self._pushed = pushed

    @property
    def version(self) -> str:
        """As the port promises."""
        return self._images.version

    async def get(self, order: BuildOrder, log: Callable[[str], None]) -> Base:
        """As the port promises."""
        if order.image is not None:
            image, credentials = order.image, _credentials(order.credentials)
            if self._pushed is not None and _plain_name(parse_reference(image).registry) == _plain_name(self._pushed.host):
                raise DeniedError(f"access denied to '{image}': you don't have permission to pull this image")  # it has every team's
        else:
            image, credentials = self._find_pushed(order)
        found = await self._images.get(image, credentials, force=order.force, log=log)
        return Base(tuple(layer.name for layer in found.layers), found.env)

    def _find_pushed(self, order: BuildOrder) -> tuple[str, RegistryCredentials | None]:
        pushed = self._pushed
        if pushed is None:
            raise UnavailableError("this node knows no registry that images are pushed to")
        credentials = BasicCredentials(pushed.username, pushed.password) if pushed.username else None
        return "/".join(filter(None, (pushed.host, pushed.prefix, f"{order.template_id}:{order.build_id}"))), credentials


def _plain_name(host: str) -> str:
    """One name for what is one server: its scheme's own port says nothing."""
    return host.lower().removesuffix(":443").removesuffix(":80")


def _credentials(sent: Mapping[str, str]) -> RegistryCredentials | None:
    match sent.get("type"):
        case None:
            return None
        case "general":
            return BasicCredentials(sent["username"], sent["password"])
        case "aws":
            return AwsCredentials(sent["awsAccessKeyId"], sent["awsSecretAccessKey"], sent["awsRegion"])
        case "gcp":
            return GcpCredentials(sent["serviceAccountJson"])
    raise InvalidError("credentials of a kind that is not known")
