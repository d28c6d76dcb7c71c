"""The views of E2B's schema, as tables to select from. Migrations create them; autogenerate does not see them."""

from __future__ import annotations

from sqlalchemy import BigInteger, MetaData, Table, Uuid
from sqlalchemy.schema import Column

_METADATA = MetaData()

# What a team may use: its own limits, or else its tier and its active addons. Sizes in MiB.
team_limits = Table(
    "team_limits",
    _METADATA,
    Column("id", Uuid()),
    Column("max_length_hours", BigInteger()),
    Column("concurrent_sandboxes", BigInteger()),
    Column("concurrent_template_builds", BigInteger()),
    Column("max_vcpu", BigInteger()),
    Column("max_ram_mb", BigInteger()),
    Column("disk_mb", BigInteger()),
    Column("events_ttl_days", BigInteger()),
    Column("default_free_disk_size_mb", BigInteger()),
    Column("max_disk_size_mb", BigInteger()),
)
