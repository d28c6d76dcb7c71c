"""`sandbank doctor`: what Sandbank needs of a machine, tried rather than looked up wherever trying is possible."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict

from rich.console import Console
from rich.text import Text

from sandbank.cli import kernel_checks, name_checks, node_checks
from sandbank.cli.check import Check, fail
from sandbank.cli.console import say
from sandbank.cli.settings import NodeSettings
from sandbank.orchestrator.settings import OrchestratorSettings

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def doctor(settings: NodeSettings, *, as_json: bool) -> bool:
    """Print every finding; True when nothing is missing that Sandbank cannot do without."""
    checks = []
    console = Console(highlight=False, soft_wrap=True)
    for check in examine(settings):
        checks.append(check)
        if not as_json:
            console.print(Text.assemble((f"{check.state:<5}", _COLOURS[check.state]), f"{check.name:<18} {check.found}"))
            for label, text in (("costs", check.costs), ("fix", check.fix)):
                if text:
                    console.print(Text(f"{'':<23} {label}: {text}", style="dim"))
    if as_json:
        say(json.dumps([asdict(check) for check in checks], indent=2))
    return all(check.state != "fail" for check in checks)


def examine(settings: NodeSettings) -> Iterator[Check]:
    """All findings, in the order in which one would repair things."""
    steps: list[tuple[str, Callable[[], Check]]] = [
        ("root", node_checks.root),
        ("kernel", kernel_checks.kernel),
        ("cgroups", kernel_checks.cgroups),
        ("user namespaces", kernel_checks.user_namespaces),
        ("overlay, idmapped", lambda: kernel_checks.overlay(settings.data_dir)),
        ("seccomp", kernel_checks.seccomp),
        ("nftables", kernel_checks.nftables),
        ("ip forwarding", kernel_checks.ip_forward),
        ("criu", lambda: kernel_checks.criu(OrchestratorSettings().criu)),
        ("packages", node_checks.packages),
        ("ports", lambda: node_checks.ports(settings)),
        ("names", lambda: name_checks.names(settings)),
        ("certificate", lambda: name_checks.certificate(settings)),
        ("disk", lambda: node_checks.disk(settings)),
        ("disk quotas", lambda: node_checks.disk_quotas(settings)),
        ("memory", node_checks.memory),
        ("process ids", node_checks.process_ids),
    ]
    for name, step in steps:
        try:
            yield step()
        except OSError as error:
            yield fail(name, f"cannot be examined: {error}", fix="run this as root", costs="unknown")
