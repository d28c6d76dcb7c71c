"""The best of a few."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from sandbank.api.core.create import CreateSandbox
from sandbank.api.core.placement import SandboxPlacer, choose, score
from sandbank.api.core.ports import NodeLoad
from sandbank.domain.errors import ConflictError, ExhaustedError, InternalError, SandbankError, UnavailableError
from tests.unit.api.fakes import Core
from tests.unit.api.made import TEAM


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


async def _placed(core: Core, *, shares_artifacts: bool, origin: str = "n2", only: str | None = None) -> str:
    await core.creator.create(TEAM, CreateSandbox("base", 60, secure=True))
    start = replace(next(iter(core.nodes.starts.values())), sandbox_id="i2", origin_node_id=origin, node_id=only)
    return (await SandboxPlacer(core.nodes, shares_artifacts=shares_artifacts).place(start)).node_id


async def test_a_start_goes_where_its_files_are_and_elsewhere_only_if_they_are_shared() -> None:
    for shared in (False, True):
        assert await _placed(Core("n1", "n2", "n3"), shares_artifacts=shared) == "n2"
    assert await _placed(Core("n1", "n3"), shares_artifacts=True) in ("n1", "n3")
    assert await _placed(Core("n1", "n2", "n3"), shares_artifacts=True, only="n3") == "n3"
    with pytest.raises(UnavailableError, match="no node is ready"):
        await _placed(Core("n1", "n3"), shares_artifacts=False)


@pytest.mark.parametrize("failure", [UnavailableError("the processor lacks avx2"), UnavailableError("away"), ExhaustedError("full")])
async def test_where_its_files_are_but_it_cannot_run_another_node_gets_it(failure: SandbankError) -> None:
    core = Core("n1", "n2")
    core.nodes.failures["n2"] = [failure]
    assert await _placed(core, shares_artifacts=True) == "n1"


async def test_a_node_that_cannot_get_the_files_is_not_the_last_word() -> None:
    core = Core("n1", "n3")
    core.nodes.failures |= {"n1": [], "n3": []}
    await core.creator.create(TEAM, CreateSandbox("base", 60, secure=True))
    start = replace(next(iter(core.nodes.starts.values())), sandbox_id="i2", origin_node_id="n2")
    core.nodes.failures |= {"n1": [ConflictError("files not found")], "n3": [ConflictError("files not found")]}
    with pytest.raises(UnavailableError, match="files not found"):
        await SandboxPlacer(core.nodes, shares_artifacts=True).place(start)
    core = Core("n2")
    core.nodes.failures["n2"] = [ConflictError("files not found")]
    with pytest.raises(InternalError, match="files not found"):
        await SandboxPlacer(core.nodes).place(start)
