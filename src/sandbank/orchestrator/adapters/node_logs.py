"""Everything about log lines on a node: who hands them in, where they go."""

from __future__ import annotations

import asyncio

import structlog

from sandbank.aiokit.tasks import TaskGroup
from sandbank.domain.log_record import LogRecord
from sandbank.orchestrator.adapters.log_channels import Listen, LogChannels, subject_of
from sandbank.orchestrator.adapters.log_sinks import LogOutlet
from sandbank.orchestrator.core.events import LifecycleEvent
from sandbank.orchestrator.core.lifecycle_line import line_of
from sandbank.orchestrator.core.ports import Routes
from sandbank.orchestrator.core.sandbox import RunningSandbox

_FLUSH_SECONDS = 3.0


class NodeLogs:
    """Runs from `start` to `stop`. Where logs are off it does nothing, and says so once."""

    def __init__(self, listen: Listen, outlet: LogOutlet) -> None:
        self._outlet = outlet
        self._log = structlog.get_logger("sandbank.orchestrator")
        self._tasks = TaskGroup("logs", lambda task, error: self._log.error("failed", task=task, exc_info=error))
        self._channels = LogChannels(listen, self, self._tasks)

    def write(self, record: LogRecord) -> None:
        """A line for the store, whoever it is from. Never blocks and never raises."""
        if self._outlet.shipper is not None:
            self._outlet.shipper.write(record)

    def emit(self, event: LifecycleEvent) -> None:
        """What the node did with a sandbox; see `sandbank.orchestrator.core.ports.Events`."""
        self.write(line_of(event, subject_of(event.sandbox)))

    def start(self) -> None:
        """Begin to send. Lines may have been written before."""
        if self._outlet.shipper is None:
            self._log.info("logs of sandboxes are off", reason="neither LOKI_URL nor CLICKHOUSE_CONNECTION_STRING is set")
            return
        self._log.info("logs of sandboxes are kept", store=self._outlet.name)
        self._tasks.start("ship", self._outlet.shipper.run())

    def open(self, sandbox: RunningSandbox) -> None:
        """Take a sandbox's lines from now on."""
        if self._outlet.shipper is not None:
            self._channels.open(sandbox)

    def close(self, sandbox_id: str) -> None:
        """Take no more of them, at once."""
        self._channels.close(sandbox_id)

    async def stop(self) -> None:
        """Take nothing more, and send what is here as far as the store takes it within some seconds."""
        self._channels.close_all()
        await self._tasks.close()
        try:
            if self._outlet.shipper is not None:
                async with asyncio.timeout(_FLUSH_SECONDS):
                    await self._outlet.shipper.flush()
        except TimeoutError:
            self._log.warning("log lines were lost at the stop: their store takes too long")
        finally:
            await self._outlet.close()


class LoggedRoutes:
    """Whoever can be reached hands in its log, and no longer than that."""

    def __init__(self, routes: Routes, logs: NodeLogs) -> None:
        self._routes = routes
        self._logs = logs

    def open(self, sandbox: RunningSandbox) -> None:
        """As the port promises."""
        self._routes.open(sandbox)
        self._logs.open(sandbox)

    def close(self, sandbox_id: str) -> None:
        """As the port promises."""
        self._logs.close(sandbox_id)
        self._routes.close(sandbox_id)
