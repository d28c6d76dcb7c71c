"""Rows of results, and how they are printed and kept."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One measured number; `hold` and `reach` are what the design asks for, as text, and `note` says against what or how."""

    name: str
    value: float
    unit: str
    hold: str = ""
    reach: str = ""
    note: str = ""


def percentile(samples: Sequence[float], percent: float) -> float:
    """The value that `percent` of the samples do not exceed, by the nearest rank."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, max(0, round(percent / 100 * len(ordered)) - 1))]


def latency_rows(name: str, seconds: Sequence[float], *, hold: tuple[str, str] = ("", ""), reach: tuple[str, str] = ("", "")) -> list[Row]:
    """p50 and p99 in milliseconds of durations in seconds."""
    note = f"{len(seconds)} samples, mean {statistics.fmean(seconds) * 1000:.1f} ms"
    return [
        Row(f"{name}, p50", percentile(seconds, 50) * 1000, "ms", hold[0], reach[0], note),
        Row(f"{name}, p99", percentile(seconds, 99) * 1000, "ms", hold[1], reach[1]),
    ]


def conditions() -> dict[str, str]:
    """What the numbers depend on and does not show in them."""
    model = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "?")
    memory = int(Path("/proc/meminfo").read_text().split()[1]) // 1024
    return {
        "processors": f"{os.cpu_count()} × {model}",
        "memory": f"{memory} MiB",
        "kernel": platform.release(),
        "Python": platform.python_version(),
        "load before": "{:.2f} {:.2f} {:.2f}".format(*os.getloadavg()),
    }


def print_conditions(found: dict[str, str]) -> None:
    """Heads the report."""
    for name, value in found.items():
        print(f"{name:>14}  {value}")
    print(f"\n{'':58}{'measured':>16}  {'hold':>9}  {'reach':>9}", flush=True)


def print_rows(rows: Sequence[Row]) -> None:
    """One line each, as soon as they are there: a full run takes minutes."""
    for row in rows:
        print(f"{row.name:<58}{row.value:>10.2f} {row.unit:<5}  {row.hold:>9}  {row.reach:>9}  {row.note}", flush=True)


def keep(path: Path, found: dict[str, str], rows: Sequence[Row]) -> None:
    """Writes all of it as JSON."""
    path.write_text(json.dumps({"conditions": found, "rows": [asdict(row) for row in rows]}, indent=2, ensure_ascii=False) + "\n")
