"""Sandboxes, teams and templates for tests."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sandbank.api.core.team import Team
from sandbank.api.core.template import Template
from sandbank.domain.sandbox import Sandbox

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)

TEAM = Team("t1", "my-team", "My team", concurrent_sandboxes=3, max_length_hours=1)
TEMPLATE = Template("tpl1", "b1", "base", vcpu=2, ram_mb=1024, disk_mb=10240, envd_version="0.6.13")


def sandbox(sandbox_id: str = "i1", **changes: Any) -> Sandbox:
    """A running sandbox of `TEAM` on node `n1`, started at noon for five minutes."""
    plain = Sandbox(
        sandbox_id=sandbox_id,
        execution_id=f"exec-{sandbox_id}",
        team_id=TEAM.team_id,
        template_id=TEMPLATE.template_id,
        build_id=TEMPLATE.build_id,
        node_id="n1",
        started_at=NOON,
        end_at=NOON + timedelta(minutes=5),
        max_length_hours=1,
        requested_timeout_seconds=300,
        vcpu=2,
        ram_mb=1024,
        disk_mb=10240,
        envd_version="0.6.13",
    )
    return replace(plain, **changes)
