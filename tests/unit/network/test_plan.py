from __future__ import annotations

from pathlib import Path

import pytest

from sandbank.domain.errors import ExhaustedError, InvalidError
from sandbank.runtime.driver import NodeLayout
from sandbank.runtime.network.plan import IndexPool, NetworkPlan


def _plan(subnet: str = "10.213.0.0/16", instance: str = "nw") -> NetworkPlan:
    return NetworkPlan(NodeLayout(Path("/a"), Path("/b"), instance=instance, subnet=subnet))


def test_slots_share_no_address() -> None:
    plan = _plan("10.213.0.0/24")
    addresses = [address for index in range(1, plan.last_index + 1) for address in (plan.host_ip(index), plan.ip(index))]
    assert len({*addresses, plan.resolver_ip}) == len(addresses) + 1
    assert all(plan.index_of(plan.ip(index)) == index for index in range(1, plan.last_index + 1))


def test_instances_do_not_share_a_group() -> None:
    groups = [group for name in ("sb", "sb2", "nw") for group in (_plan(instance=name).group, _plan(instance=name).doomed_group)]
    assert len(set(groups)) == 6


@pytest.mark.parametrize(("subnet", "instance"), [("10.213.0.0/29", "nw"), ("10.213.0.1/16", "nw"), ("x", "nw"), ("10.0.0.0/8", "toolong")])
def test_a_layout_that_cannot_work_is_refused(subnet: str, instance: str) -> None:
    with pytest.raises(InvalidError):
        _plan(subnet, instance)


def test_an_index_comes_back_last() -> None:
    pool = IndexPool(3)
    pool.reserve([2])
    assert pool.take() == 1
    pool.give_back(1)
    assert [pool.take(), pool.take()] == [3, 1]
    with pytest.raises(ExhaustedError):
        pool.take()
