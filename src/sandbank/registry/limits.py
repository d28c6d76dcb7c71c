"""What an image may cost, and which registries are the operator's own."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PullLimits:
    """Bounds of one pull.

    `trusted_registries` are `host[:port]` that may have private addresses, or `http://host[:port]` that may do without TLS besides.
    A host named without a port is all of its ports. This machine itself is not among them by itself: strangers choose what is pulled.
    """

    total_mb: int = 25_000  # uncompressed; contract templates-and-data §1.9
    entries: int = 1_000_000
    layers: int = 127
    downloads_at_once: int = 4
    attempts: int = 5
    stall_seconds: float = 30.0
    total_seconds: float = 3600.0
    trusted_registries: tuple[str, ...] = ()

    @property
    def total_bytes(self) -> int:
        """`total_mb`, in bytes."""
        return self.total_mb * 1_000_000

    def is_plain(self, host: str) -> bool:
        """Whether `host[:port]` is spoken to without TLS."""
        return not {f"http://{host}", f"http://{_without_port(host)}"}.isdisjoint(self.trusted_registries)

    def is_trusted(self, host: str) -> bool:
        """Whether `host[:port]` may be a machine of a private network."""
        return self.is_plain(host) or not {host, _without_port(host)}.isdisjoint(self.trusted_registries)


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host
