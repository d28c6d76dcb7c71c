"""Measuring several things in turns, because the machine's mood changes by the second; the ratio is that of the medians."""

from __future__ import annotations

import statistics
from collections.abc import Callable


def take_turns(ports: dict[str, int], rounds: int, measure: Callable[[str, int], float]) -> dict[str, list[float]]:
    """What `measure` says of each, once a round."""
    results: dict[str, list[float]] = {name: [] for name in ports}
    for _ in range(rounds):
        for name, port in ports.items():
            results[name].append(measure(name, port))
    return results


def compare(
    title: str, results: dict[str, list[float]], *, unit: str, higher_is_better: bool, reference: str = "nginx"
) -> dict[str, float]:
    """Print medians and rounds; how many times as good as the reference each is."""
    print(f"\n{title}")
    base = statistics.median(results[reference])
    ratios = {}
    for name, values in results.items():
        median = statistics.median(values)
        ratios[name] = median / base if higher_is_better else base / median
        print(
            f"  {name:10} median {median:10.2f} {unit}   ratio {ratios[name]:.2f}   rounds {' '.join(f'{value:.2f}' for value in values)}"
        )
    return ratios
