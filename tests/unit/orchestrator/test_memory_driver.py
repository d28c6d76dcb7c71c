from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandbank.domain.identifiers import new_sandbox_id
from sandbank.runtime.driver import AgentInit, Limits, SandboxSpec
from tests.unit.orchestrator.driver_contract import DriverContract, SpecMaker, new_execution_id
from tests.unit.orchestrator.memory_driver import MemoryDriver


class TestMemoryDriver(DriverContract):
    @pytest.fixture
    async def driver(self) -> AsyncIterator[MemoryDriver]:
        driver = MemoryDriver()
        await driver.start(lambda ended: None)
        yield driver
        assert not driver.kernel.sandboxes
        assert not driver.kernel.leftovers
        await driver.close()

    @pytest.fixture
    def new_spec(self) -> SpecMaker:
        return lambda: SandboxSpec(
            sandbox_id=new_sandbox_id(),
            template_id="base",
            execution_id=new_execution_id(),
            layers=(Path("/"),),
            limits=Limits(vcpu=1, memory_mib=128, disk_mib=512),
            init=AgentInit(access_token=None, env_vars={}),
        )
