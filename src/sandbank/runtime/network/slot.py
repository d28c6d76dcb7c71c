"""What is prepared ahead of a sandbox."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(eq=False, slots=True)
class Slot:
    """A uid range, its user namespace, a network namespace owned by that, and a link to the host. Owns both descriptors."""

    index: int
    base_uid: int
    userns_fd: int
    netns_fd: int
    host_ip: str
    ip: str
    prefix_length: int
    link_name: str
    is_spent: bool = False  # its namespaces were made for one sandbox and serve no other

    def replace_namespaces(self, userns_fd: int, netns_fd: int) -> None:
        """Let go of the namespaces and own these instead."""
        self.close()
        self.userns_fd, self.netns_fd = userns_fd, netns_fd
        self.is_spent = True

    def close(self) -> None:
        """Let go of the namespaces; they end with the last process or socket inside."""
        for name in ("userns_fd", "netns_fd"):
            if (descriptor := getattr(self, name)) >= 0:
                setattr(self, name, -1)
                os.close(descriptor)
