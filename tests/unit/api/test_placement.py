"""The best of a few."""

from __future__ import annotations

from collections import Counter

from sandbank.api.core.placement import choose, score
from sandbank.api.core.ports import NodeLoad


def test_score_is_the_contracts() -> None:
    assert score(NodeLoad("n", cpu_count=4, allocated_vcpu=5, starting_vcpu=3, cpu_percent=50), 2) == (2 + 5 + 3 + 0.25) / 16
    assert score(NodeLoad("n", 0, 0, 0, 0), 2) == float("inf")


def test_the_emptiest_of_three_wins() -> None:
    nodes = [NodeLoad(f"n{vcpu}", 4, vcpu, 0, 0) for vcpu in (6, 2, 4)]
    chosen = choose(nodes, 2)
    assert chosen is not None
    assert chosen.node_id == "n2"
    other = choose(nodes, 2, frozenset({"n2"}))
    assert other is not None
    assert other.node_id == "n4"
    assert choose([], 2) is None


def test_of_many_nodes_no_single_one_takes_all() -> None:
    nodes = [NodeLoad(f"n{number}", 4, number, 0, 0) for number in range(10)]
    chosen = Counter(node.node_id for _ in range(300) if (node := choose(nodes, 2)) is not None)
    assert len(chosen) > 3
    assert "n9" not in chosen
    assert "n8" not in chosen
