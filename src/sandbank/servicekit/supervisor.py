"""Runs services side by side: the first to end stops the rest, signals stop all of them in order."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence

import structlog

from sandbank.aiokit.tasks import TaskGroup, finish, run_unless
from sandbank.domain.errors import InternalError, SandbankError
from sandbank.servicekit.service import Service

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Supervisor:
    """Starts services in the given order, waits for the first to end or for a signal, and stops them in reverse order.

    The first SIGTERM or SIGINT lets each service take `stop_seconds` to stop, a second one `hurry_seconds`; then its stopping is
    cancelled and the next one's turn comes. To be made inside the running loop.
    """

    def __init__(
        self, services: Sequence[Service], *, stop_seconds: float = 30.0, hurry_seconds: float = 2.0, handle_signals: bool = True
    ) -> None:
        self._services = services
        self._stop_seconds = stop_seconds
        self._hurry_seconds = hurry_seconds
        self._handle_signals = handle_signals
        self._log = structlog.get_logger("sandbank.supervisor")
        self._loop = asyncio.get_running_loop()
        self._stop_asked = asyncio.Event()
        self._hurrying = False
        self._stopping: asyncio.Timeout | None = None

    async def run(self, on_ready: Callable[[], None] | None = None) -> None:
        """Return after an orderly stop; `on_ready` is called once all have started.

        Raises what kept a service from starting or ended one. Cancelled, it stops everything before the cancellation travels on.
        """
        touched: list[Service] = []
        self._listen()
        try:
            if await run_unless(self._stop_asked, self._start(touched), "supervisor.start"):
                if on_ready is not None:
                    on_ready()
                await run_unless(self._stop_asked, self._first_to_end(), "supervisor.wait")
        finally:
            await finish(self._stop(touched))
            self._deafen()

    def stop(self) -> None:
        """As SIGTERM would: the first call stops in order, the next ones hurry. Returns at once."""
        if not self._stop_asked.is_set():
            self._stop_asked.set()
        elif not self._hurrying:
            self._hurrying = True
            if self._stopping is not None:
                self._stopping.reschedule(self._loop.time() + self._hurry_seconds)

    def _listen(self) -> None:
        for number in _SIGNALS if self._handle_signals else ():
            self._loop.add_signal_handler(number, self._on_signal, number)

    def _deafen(self) -> None:
        for number in _SIGNALS if self._handle_signals else ():
            self._loop.remove_signal_handler(number)

    def _on_signal(self, number: signal.Signals) -> None:
        self._log.info("hurrying" if self._stop_asked.is_set() else "stopping", signal=signal.Signals(number).name)
        self.stop()

    async def _start(self, touched: list[Service]) -> None:
        for service in self._services:
            touched.append(service)  # before starting it: one that started halfway has to be stopped as well
            await service.start()
            self._log.debug("started", service=service.name)

    async def _first_to_end(self) -> None:
        group = TaskGroup("supervisor", lambda name, error: None)  # the first error is raised below, later ones follow from it
        try:
            waits = {group.start(service.name, service.wait()): service for service in self._services}
            ended, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            task = next(task for task in waits if task in ended)
            raise _end_of(waits[task], task)
        finally:
            await group.close()

    async def _stop(self, touched: list[Service]) -> None:
        for service in reversed(touched):
            try:
                async with asyncio.timeout(self._hurry_seconds if self._hurrying else self._stop_seconds) as self._stopping:
                    await service.stop()
            except TimeoutError:
                self._log.warning("did not stop in time", service=service.name)
            except Exception as error:  # noqa: BLE001  # cleanup step: the next service has to be stopped too
                self._log.error("failed to stop", service=service.name, error=repr(error))
            finally:
                self._stopping = None


def _end_of(service: Service, task: asyncio.Task[None]) -> BaseException:
    error = None if task.cancelled() else task.exception()
    if isinstance(error, SandbankError):
        return error
    failure = InternalError(f"{service.name} ended by itself" if error is None else f"{service.name} failed: {error!r}")
    failure.__cause__ = error
    return failure
