"""All endpoints behind what every request passes first (data-plane contract §4.1)."""

from __future__ import annotations

import time

from sandbank.domain.errors import UnauthenticatedError
from sandbank.envd import authentication
from sandbank.envd.accounts import find_account
from sandbank.envd.connect.procedures import refuse
from sandbank.envd.files.compose import Compose
from sandbank.envd.files.download import Download
from sandbank.envd.files.request_target import told_over_rest
from sandbank.envd.files.upload import Upload
from sandbank.envd.filesystem.service import FilesystemService
from sandbank.envd.filesystem.watchers import WatcherTable
from sandbank.envd.freeze import Freeze
from sandbank.envd.initialisation import Initialisation
from sandbank.envd.journal import JOURNAL
from sandbank.envd.meminfo import MemoryFile
from sandbank.envd.metrics import Metrics
from sandbank.envd.process.service import ProcessService
from sandbank.envd.process.table import ProcessTable
from sandbank.envd.state import AgentState
from sandbank.envd.transport import cors
from sandbank.envd.transport.request import Request
from sandbank.envd.transport.response import Response
from sandbank.envd.transport.router import Router

_START = "/process.Process/Start"
_NAMED = ("/process.", "/filesystem.", "/files", "/init")
_LEGACY_AGENT = "connect-python"
_UNTOLD = frozenset({"/health", _START})  # asked all the time; told as the process that it starts


def _log(request: Request, status: int, operation: str, seconds: float) -> None:
    """One line per request: the path without its query, which may hold a signature, and nothing of headers and bodies."""
    level = "debug" if status < 400 else "warn" if status < 500 else "error"
    what = f"{request.method} {request.path}"
    fields = {"method": what, "status": status, "duration_ms": round(seconds * 1000, 3)}
    JOURNAL.write(level, _logger(request.path), f"{what} {status}", event_type="request", operation_id=operation, **fields)


def _logger(path: str) -> str:
    return path[1:].partition(".")[0].partition("/")[0] if path.startswith(_NAMED) else "envd"


class Application:
    """One sandbox's endpoints over one state."""

    def __init__(self, state: AgentState) -> None:
        self._state = state
        self._memory_file = MemoryFile(state.memory_limit_bytes)
        self.processes = ProcessTable()
        self.watchers = WatcherTable()
        self._router = Router()
        ProcessService(state, self.processes).register(self._router)
        FilesystemService(state, self.watchers).register(self._router)
        download = told_over_rest(Download(state))
        self._router.add("GET", "/files", download)
        self._router.add("HEAD", "/files", download)
        self._router.add("POST", "/files", told_over_rest(Upload(state)))
        self._router.add("POST", "/files/compose", told_over_rest(Compose(state)))
        self._router.add("GET", "/metrics", Metrics(state))
        self._router.add("POST", "/init", Initialisation(state))
        Freeze(state).register(self._router)
        self._router.add("GET", "/health", self._health)
        self._router.add("GET", "/envs", self._envs)

    async def handle(self, request: Request, response: Response) -> None:
        """CORS, access token, named user, endpoint; what came of it goes into the journal."""
        if request.path in _UNTOLD:
            await self._answer(request, response)
            return
        operation, started = JOURNAL.new_operation(), time.monotonic()
        try:
            await self._answer(request, response)
        finally:
            _log(request, response.status, operation, time.monotonic() - started)

    async def _answer(self, request: Request, response: Response) -> None:
        if cors.is_preflight(request):
            await cors.answer_preflight(request, response)
            return
        cors.allow(request, response)
        if not authentication.may_pass(request, self._state.access_token):
            await response.send_error(401, authentication.UNAUTHORIZED)
            return
        request.username = authentication.named_user(request)
        if request.username is not None and find_account(request.username) is None:
            await refuse(request, response, UnauthenticatedError(f"invalid username: '{request.username}'"))
            return
        if request.headers.get("user-agent") == _LEGACY_AGENT:
            response.headers["X-E2B-Legacy-SDK"] = "true"
        if request.path == _START:
            self._memory_file.refresh()
        await self._router.handle(request, response)

    @staticmethod
    async def _health(request: Request, response: Response) -> None:
        await response.send(204, {"Cache-Control": "no-store"})

    async def _envs(self, request: Request, response: Response) -> None:
        await response.send_json(200, self._state.environment(), {"Cache-Control": "no-store"})
