"""The client proxy against nginx on the same backend: small requests and a long download. The comparison itself is `proxy_load`."""

from __future__ import annotations

import json
import subprocess
import sys

from benchmarks.report import Row
from tests.product.instance import Instance

LABELS = {
    "small": "requests/s through the proxy ÷ nginx",
    "small_varied": "requests/s, each for another path ÷ nginx",
    "large": "download through the proxy ÷ nginx",
    "echo": "nginx's WebSocket echo latency ÷ the proxy's",
}
TARGETS = {"small": ("0.6", "1.0"), "small_varied": ("0.6", "1.0"), "large": ("0.7", "1.0"), "echo": ("", "")}


def measure_proxy(_: Instance, rounds: int, seconds: int, gigabytes: float) -> list[Row]:
    """Runs the comparison in processes of its own and returns its ratios; 1 means as fast as nginx."""
    options = ["--rounds", str(rounds), "--seconds", str(seconds), "--gigabytes", str(gigabytes), "--json"]
    command = [sys.executable, "-m", "benchmarks.proxy_load", *options]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    ratios: dict[str, dict[str, float]] = json.loads(output.splitlines()[-1])
    return [
        Row(f"{LABELS[kind]}, {name}", ratio, "×", *TARGETS[kind], "two nginx" if name == "two hops" and kind != "echo" else "")
        for kind, by_name in ratios.items()
        if kind in LABELS
        for name, ratio in by_name.items()
        if name in ("one hop", "two hops")
    ]
