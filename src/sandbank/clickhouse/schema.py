"""Bringing ClickHouse's tables to this version, step by step, with a ledger that refuses one that is ahead of it.

One history serves a single server, the embedded engine and a cluster. Where a cluster is named, `x` is a `Distributed` table over
`x_local` on every node, as in E2B's deployments; elsewhere `x` is the table itself. Code only ever says `x`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources

from sandbank.clickhouse.client import ClickHouse
from sandbank.domain.errors import ConflictError, InvalidError

LEDGER = "_migrations"
"""Named and shaped as goose's, which is what E2B's tools keep (contract templates-and-data §4)."""

_FILE = re.compile(r"(\d{4})_(\w+)\.sql")
_LOCAL = re.compile(r"\$\{LOCAL:(\w+)\}")
_DIRECTIVE = re.compile(r"^-- (distributed|undistributed) (\w+) ?(.*)$")
_CLUSTER = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Migration:
    """A numbered step."""

    number: int
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Step:
    """A step and whether the database has taken it."""

    number: int
    name: str
    applied: bool


def migrations() -> list[Migration]:
    """All steps of this version, in order."""
    found = []
    for file in resources.files("sandbank.clickhouse.migrations").iterdir():
        if (match := _FILE.fullmatch(file.name)) is not None:
            found.append(Migration(int(match[1]), match[2], file.read_text(encoding="utf-8")))
    return sorted(found, key=lambda migration: migration.number)


def statements(text: str, cluster: str | None, *, down: bool = False) -> list[str]:
    """One direction of a step as statements for a single server, or for the cluster of that name."""
    up_text, _, down_text = text.partition("\n-- down\n")
    on_cluster = f"ON CLUSTER '{cluster}'" if cluster else ""
    lines = []
    for line in (down_text if down else up_text).splitlines():
        directive = _DIRECTIVE.match(line)
        if directive is None:
            if not line.startswith("--"):
                lines.append(line)
        elif cluster and directive[1] == "distributed":
            table, key = directive[2], directive[3]
            engine = f"Distributed('{cluster}', currentDatabase(), '{table}_local', {key})"
            lines.append(f"CREATE TABLE IF NOT EXISTS {table} {on_cluster} AS {table}_local ENGINE = {engine};")
        elif cluster:
            lines.append(f"DROP TABLE IF EXISTS {directive[2]} {on_cluster};")
    whole = "\n".join(lines).replace("${ON_CLUSTER}", on_cluster)
    whole = _LOCAL.sub(lambda match: f"{match[1]}_local {on_cluster}" if cluster else match[1], whole)
    return [statement.strip() for statement in whole.split(";\n") if statement.strip(" ;\n")]


class Schema:
    """The tables of one database. Steps can be taken by several services at once: each is safe to repeat."""

    def __init__(self, client: ClickHouse, cluster: str | None = None) -> None:
        if cluster is not None and _CLUSTER.fullmatch(cluster) is None:
            raise InvalidError(f"{cluster!r} is no name of a ClickHouse cluster")
        self._client = client
        self._cluster = cluster

    async def status(self) -> list[Step]:
        """Every step of this version; `ConflictError` where the ledger knows steps that this version does not."""
        known = migrations()
        applied = await self._applied()
        ahead = sorted(applied - {migration.number for migration in known})
        if ahead:
            raise ConflictError(
                f"ClickHouse has schema {ahead[-1]}, which this version of Sandbank does not know:"
                " it was used by a newer one, so start that again or restore a backup"
            )
        return [Step(migration.number, migration.name, migration.number in applied) for migration in known]

    async def up(self) -> list[int]:
        """Take all steps that are missing; their numbers are returned."""
        done = {step.number for step in await self.status() if step.applied}
        taken = []
        for migration in migrations():
            if migration.number not in done:
                await self._run(statements(migration.text, self._cluster))
                await self._note(migration.number, applied=True)
                taken.append(migration.number)
        return taken

    async def down(self) -> int | None:
        """Undo the newest step, with its data; its number is returned, none where nothing is applied."""
        done = [step.number for step in await self.status() if step.applied]
        if not done:
            return None
        (migration,) = (migration for migration in migrations() if migration.number == done[-1])
        await self._run(statements(migration.text, self._cluster, down=True))
        await self._note(migration.number, applied=False)
        return migration.number

    async def _applied(self) -> set[int]:
        await self._client.command(
            f"CREATE TABLE IF NOT EXISTS {LEDGER} (version_id Int64, is_applied UInt8, date Date DEFAULT now(),"
            " tstamp DateTime64(9) DEFAULT now64(9)) ENGINE = MergeTree ORDER BY tstamp"
        )
        rows = await self._client.query(
            f"SELECT version_id FROM {LEDGER} GROUP BY version_id HAVING argMax(is_applied, tstamp) = 1 AND version_id > 0"  # noqa: S608
        )
        return {number for (number,) in rows}

    async def _note(self, number: int, *, applied: bool) -> None:
        await self._client.insert(LEDGER, ("version_id", "is_applied"), [(number, int(applied))])

    async def _run(self, texts: list[str]) -> None:
        for text in texts:
            await self._client.command(text)
