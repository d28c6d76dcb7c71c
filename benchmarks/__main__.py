"""`python -m benchmarks`: starts an installation of its own, measures, prints, stops it."""

from __future__ import annotations

import argparse
import functools
import os
from collections.abc import Callable
from pathlib import Path

from benchmarks import building, commands, control_plane, forking, lifecycle, memory, paused_crowd, pausing, traffic, transfers
from benchmarks.report import Row, conditions, keep, print_conditions, print_rows
from tests.product.instance import Instance
from tests.product.serving import serving

Measurement = Callable[[Instance], list[Row]]


def installation() -> Instance:
    """Apart from the one of the tests and from a user's own."""
    return Instance("sbm", Path("/var/lib/sandbank-bench"), Path("/run/sandbank-bench"), "10.219.0.0/16", 3_600_000_000, 14000)


def measurements(quick: bool) -> dict[str, Measurement]:
    """All there are, by name, in the order they are run; a quick run takes fewer samples."""
    rounds = 30 if quick else 200
    return {
        "create": functools.partial(lifecycle.measure_create, rounds=rounds),
        "first-command": functools.partial(lifecycle.measure_first_command, rounds=rounds // 2),
        "burst": functools.partial(lifecycle.measure_burst, size=50),
        "run": functools.partial(commands.measure_run, rounds=rounds // 2),
        "memory": functools.partial(memory.measure_idle, count=30 if quick else 100),
        "pause": functools.partial(
            pausing.measure_pause, rounds=4 if quick else 10, megabytes=(10, 100) if quick else (10, 50, 100, 300, 900)
        ),
        "thaw": functools.partial(pausing.measure_thaw, rounds=4 if quick else 10, megabytes=(10, 100) if quick else (10, 100, 900)),
        "fork": functools.partial(forking.measure_fork, counts=(10,) if quick else (10, 100), rounds=2 if quick else 4),
        "paused": functools.partial(paused_crowd.measure_paused, paused=20, running=5, sample=5)
        if quick
        else functools.partial(paused_crowd.measure_paused, paused=500, running=50, sample=50),
        "builds": functools.partial(building.measure_builds, rounds=2 if quick else 5),
        "starts": functools.partial(building.measure_starts, rounds=5 if quick else 20),
        "cells": functools.partial(building.measure_first_cell, rounds=5 if quick else 20),
        "api": functools.partial(
            control_plane.measure_api, seconds=2 if quick else 4, sandboxes=(10, 1000) if quick else (10, 100, 1000, 10_000)
        ),
        "traffic": functools.partial(
            traffic.measure_proxy, rounds=2 if quick else 5, seconds=2 if quick else 4, gigabytes=0.25 if quick else 1.0
        ),
        "files": functools.partial(transfers.measure_files, rounds=2 if quick else 4, gigabytes=0.25 if quick else 1.0),
    }


def main() -> None:
    """Parses the command line and runs what is asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measures Sandbank next to others on this machine. Needs root."
    )
    parser.add_argument("names", nargs="*", help=f"which: {', '.join(measurements(quick=True))}; all of them by default")
    parser.add_argument("--quick", action="store_true", help="fewer samples: a minute instead of several")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the results as JSON, too")
    arguments = parser.parse_args()
    chosen = measurements(arguments.quick)
    unknown = set(arguments.names) - chosen.keys()
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    found, rows = conditions(), []
    with serving(installation()) as instance:
        print_conditions(found)
        for name, measure in chosen.items():
            if not arguments.names or name in arguments.names:
                measured = measure(instance)
                print_rows(measured)
                rows += measured
    found["load after"] = "{:.2f} {:.2f} {:.2f}".format(*os.getloadavg())
    print(f"{'load after':>14}  {found['load after']}")
    if arguments.json is not None:
        keep(arguments.json, found, rows)


if __name__ == "__main__":
    main()
