"""The namespaces driver keeps what the driver protocol promises, as its twin in memory does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandbank.domain.identifiers import new_sandbox_id
from sandbank.orchestrator.settings import OrchestratorSettings
from sandbank.runtime.driver import AgentInit, Limits, SandboxSpec
from sandbank.runtime.drivers.namespaces.driver import NamespaceDriver
from sandbank.runtime.drivers.namespaces.settings import NamespaceSettings
from sandbank.runtime.snapshot.criu_program import find_criu
from tests.unit.orchestrator.driver_contract import DriverContract, SpecMaker, new_execution_id


class TestNamespaceDriver(DriverContract):
    @pytest.fixture
    async def driver(self, settings: OrchestratorSettings) -> AsyncIterator[NamespaceDriver]:
        driver = NamespaceDriver(settings.layout, NamespaceSettings(free_slots=2, criu=find_criu(None).usable_path))
        await driver.start(lambda ended: None)
        yield driver
        await driver.close()

    @pytest.fixture
    def new_spec(self, layer: Path) -> SpecMaker:
        return lambda: SandboxSpec(
            sandbox_id=new_sandbox_id(),
            template_id="base",
            execution_id=new_execution_id(),
            layers=(layer,),
            limits=Limits(vcpu=1, memory_mib=128, disk_mib=512),
            init=AgentInit(access_token=None, env_vars={}),
        )
