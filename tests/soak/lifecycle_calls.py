"""Mixed lifecycle calls by a crowd of clients, some of which get no answer because the service is killed, and what must be true after."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import Counter
from dataclasses import dataclass, field

import httpx

from tests.product.instance import SEEDED_API_KEY, Instance

_AT_ONCE = 16
_KINDS = ["get", "connect", "timeout", "refresh", "list", "kill", "expire", "create"]
_WEIGHTS = [22, 22, 16, 10, 6, 12, 4, 8]


@dataclass
class Crowd:
    """What was asked for and what was answered.

    `alive` must run in the end: made or found running, and no end of it was ever asked for. `dead` must not: an end of it was acknowledged.
    Whoever got no answer knows neither.
    """

    server: Instance
    seed: int
    alive: set[str] = field(default_factory=set)
    dead: set[str] = field(default_factory=set)
    doubtful: set[str] = field(default_factory=set)
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    run: str = field(default_factory=lambda: uuid.uuid4().hex)  # keys mean the same for a day
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    serving: asyncio.Event = field(default_factory=asyncio.Event)

    async def begin(self, sandboxes: int) -> None:
        """Make the sandboxes that it is all about."""
        self.serving.set()
        async with self._client() as client:
            made = await asyncio.gather(*(self._create(client, f"{self.run}-first-{number}") for number in range(sandboxes)))
        assert made == [None] * sandboxes
        assert len(self.alive) == sandboxes, self.faults

    async def call(self, calls: int, crash_after: int) -> None:
        """Send them all, `_AT_ONCE` at a time; `answered` is set once `crash_after` have come back."""
        choice = random.Random(self.seed)
        pool = sorted(self.alive)
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(number: int, kind: str, sandbox_id: str, seconds: int) -> None:
            async with gate:
                await self.serving.wait()
                await self._one(client, number, kind, sandbox_id, seconds)
                if sum(self.answers.values()) >= crash_after:
                    self.answered.set()

        plan = [(choice.choices(_KINDS, _WEIGHTS)[0], choice.choice(pool), choice.randint(300, 900)) for _ in range(calls)]
        async with self._client() as client:
            await asyncio.gather(*(one(number, *step) for number, step in enumerate(plan)))

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self.server.api_url,
            headers={"X-API-Key": SEEDED_API_KEY},
            timeout=60,
            trust_env=False,
            limits=httpx.Limits(max_connections=_AT_ONCE, max_keepalive_connections=_AT_ONCE),
        )

    async def _one(self, client: httpx.AsyncClient, number: int, kind: str, sandbox_id: str, seconds: int) -> None:
        if kind == "create":
            await self._create(client, f"{self.run}-later-{number}")
            return
        method, path, body = {
            "get": ("GET", f"/sandboxes/{sandbox_id}", None),
            "connect": ("POST", f"/v2/sandboxes/{sandbox_id}/connect", {"timeout": seconds}),
            "timeout": ("POST", f"/sandboxes/{sandbox_id}/timeout", {"timeout": seconds}),
            "refresh": ("POST", f"/sandboxes/{sandbox_id}/refreshes", {"duration": seconds}),
            "list": ("GET", "/v2/sandboxes", None),
            "kill": ("DELETE", f"/sandboxes/{sandbox_id}", None),
            "expire": ("POST", f"/sandboxes/{sandbox_id}/timeout", {"timeout": 0}),
        }[kind]
        if kind in ("kill", "expire"):
            self.alive.discard(sandbox_id)
            self.doubtful.add(sandbox_id)
        response = await self._send(client, kind, method, path, body)
        if response is None:
            return
        allowed = {"get": {200, 404}, "list": {200}, "kill": {204, 404}}.get(kind, {200, 204, 404, 409})
        if response.status_code not in allowed:
            self.faults.append(f"{kind} {sandbox_id}: {response.status_code} {response.text}")
        if response.status_code == 404 and sandbox_id in self.alive:
            self.faults.append(f"{kind} {sandbox_id} was not found, and nobody has ended it")
        if kind == "kill" and response.status_code == 204:
            # Ended for good. A timeout of nothing may be overtaken by a later one, or by a connect.
            self.dead.add(sandbox_id)

    async def _create(self, client: httpx.AsyncClient, key: str) -> None:
        """With a key: whoever gets no answer asks again, and gets the same sandbox or none."""
        for _ in range(20):
            await self.serving.wait()
            response = await self._send(
                client, "create", "POST", "/v2/sandboxes", {"templateID": "base", "timeout": 900}, {"Idempotency-Key": key}
            )
            if response is None:
                continue
            body = response.json()
            if response.status_code == 201:
                self.alive.add(body["sandboxID"])
                return
            if body.get("error_code") == "idempotency_in_progress":
                await asyncio.sleep(0.1)
                continue
            if body.get("error_code") != "idempotency_outcome_unknown":
                self.faults.append(f"create: {response.status_code} {response.text}")
            return
        self.faults.append(f"create with key {key} was never answered")

    async def _send(
        self, client: httpx.AsyncClient, kind: str, method: str, path: str, body: object, headers: dict[str, str] | None = None
    ) -> httpx.Response | None:
        try:
            response = await client.request(method, path, json=body, headers=headers)
        except httpx.TransportError:
            self.answers[(kind, 0)] += 1
            return None
        self.answers[(kind, response.status_code)] += 1
        return response
