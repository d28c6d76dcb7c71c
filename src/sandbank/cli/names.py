"""Whether the names below a domain lead anywhere on this machine, and making them do so where that takes no DNS."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from sandbank.cli.packages import install_packages
from sandbank.domain.errors import SandbankError
from sandbank.servicekit.public_domain import PublicDomain

PACKAGE = "libnss-myhostname"  # answers for *.localhost inside glibc, and puts itself into /etc/nsswitch.conf
_LOOK_UP_SECONDS = 1.5


def find_addresses(name: str, timeout_seconds: float = _LOOK_UP_SECONDS) -> tuple[str, ...]:
    """The addresses of a host name, none when there are none or the resolvers take longer. Blocks."""
    answers: queue.SimpleQueue[tuple[str, ...]] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except OSError:
            found = []
        answers.put(tuple(dict.fromkeys(str(entry[4][0]) for entry in found)))

    # The C library's look-up cannot be interrupted, only left behind.
    threading.Thread(target=look_up, name="look-up", daemon=True).start()
    try:
        return answers.get(timeout=timeout_seconds)
    except queue.Empty:
        return ()


def find_problem(domain: PublicDomain) -> str | None:
    """What is wrong with the names below `domain`, as seen from here, and what to do about it; in one line."""
    if find_addresses(domain.api_name) and find_addresses(f"49983-probe.{domain.name}"):
        return None
    if domain.is_local:
        return (
            f"names below {domain.name} do not resolve here, so E2B_DOMAIN does not work on this machine yet (the URL variables do): "
            f"apt-get install {PACKAGE}, which adds `myhostname` to the hosts in /etc/nsswitch.conf, or have *.localhost answered by DNS"
        )
    return f"*.{domain.name} does not resolve on this machine: clients need a wildcard DNS record that leads here"


def prepare_names(domain: PublicDomain, tried: Path, progress: Callable[[str], None]) -> str | None:
    """Make names below a local `domain` resolve, and return what `find_problem` says then. The file `tried` marks a failure."""
    problem = find_problem(domain)
    if problem is None or not domain.is_local or tried.exists():
        return problem
    reason = ""
    try:
        install_packages([PACKAGE], progress, patient=False)
    except SandbankError as error:
        reason = error.message
    problem = find_problem(domain)
    if problem is not None:
        tried.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        tried.write_text(f"{reason or problem}\n")
    return problem
