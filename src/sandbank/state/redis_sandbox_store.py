"""`SandboxStore` in Redis, for any number of API processes (contract data-plane §10.2, templates-and-data §7).

A team's keys change together, in scripts. The indexes over all teams (owner, node, expiration) follow in a second step: they are written
before a record appears and after it has gone, so they may name what is not there, which readers notice and mend.

A record that cannot be read counts as none: its node tells the reconciler of a sandbox that nobody knows, which is then recorded anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime

import structlog
from redis.asyncio import Redis

from sandbank.aiokit.tasks import TaskGroup
from sandbank.domain import errors
from sandbank.domain.errors import InternalError, SandbankError, UnavailableError
from sandbank.domain.sandbox import Sandbox
from sandbank.domain.states import TERMINAL, SandboxState
from sandbank.state import redis_keys, redis_scripts
from sandbank.state.decoded_records import DecodedRecords
from sandbank.state.redis_connection import plain, speaking
from sandbank.state.redis_lock import Locks
from sandbank.state.redis_notices import Notices
from sandbank.state.sandbox_codec import UnreadableRecordError, decode, encode

_PENDING_SECONDS = 90
_RENEW_SECONDS = 20.0
_TRANSITION_SECONDS = 70
_OUTCOME_SECONDS = 30
_OWNER_SECONDS = 2 * _PENDING_SECONDS  # of a start that never became a sandbox

_log = structlog.get_logger("sandbank.state")


def _milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1000)


class RedisTransition:
    """See `sandbank.state.sandbox_store.Transition`."""

    def __init__(self, store: RedisSandboxStore, sandbox: Sandbox, text: str, *, owned: bool) -> None:
        self._store = store
        self._sandbox = sandbox
        self._text = text
        self._owned = owned

    @property
    def sandbox(self) -> Sandbox:
        """As it was when the change began."""
        return self._sandbox

    @property
    def owned(self) -> bool:
        """Whether this caller does the work."""
        return self._owned

    async def complete(self, error: SandbankError | None = None) -> None:
        """See `Transition.complete`. One that took so long that another process took over changes nothing."""
        await self._store.complete(self._sandbox, self._text, error)

    async def join(self) -> None:
        """See `Transition.join`; `InternalError` where the owner died."""
        await self._store.join(self._sandbox, self._text)


class RedisSandboxStore:
    """The running sandboxes of all API processes together. `UnavailableError` from every method while Redis cannot be asked."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._decoded = DecodedRecords()
        self._has_met_unreadable = False
        self._notices = Notices(redis)
        self._locks = Locks(redis, self._notices)
        # Starts of this process. Three nodes that do not answer take longer than a place is kept for the dead.
        self._starting: set[tuple[str, str]] = set()
        self._tasks = TaskGroup("sandbox store", lambda task, error: None)  # a place that is not renewed is given back
        self._renewing: asyncio.Task[None] | None = None
        self._reserve = redis.register_script(redis_scripts.RESERVE)
        self._pending = redis.register_script(redis_scripts.PENDING)
        self._renew = redis.register_script(redis_scripts.RENEW)
        self._add = redis.register_script(redis_scripts.ADD)
        self._swap = redis.register_script(redis_scripts.SWAP)
        self._begin = redis.register_script(redis_scripts.BEGIN)
        self._complete = redis.register_script(redis_scripts.COMPLETE)
        self._forget = redis.register_script(redis_scripts.FORGET)
        self._take_due = redis.register_script(redis_scripts.TAKE_DUE)

    async def close(self) -> None:
        """Let go; the connection is its owner's."""
        await self._tasks.close()
        await self._locks.close()
        await self._notices.close()

    async def reserve(self, team_id: str, sandbox_id: str, limit: int) -> bool:
        """See `SandboxStore.reserve`. One whose process died is given back after 90 seconds."""
        with speaking():
            await self._redis.set(redis_keys.owner(sandbox_id), team_id, nx=True, ex=_OWNER_SECONDS)
            keys = [redis_keys.index(team_id), redis_keys.pending(team_id)]
            is_reserved = bool(await self._reserve(keys=keys, args=[sandbox_id, limit, _PENDING_SECONDS]))
        if is_reserved:
            self._starting.add((team_id, sandbox_id))
            if self._renewing is None or self._renewing.done():
                self._renewing = self._tasks.start("renew", self._keep_places())
        return is_reserved

    async def release(self, team_id: str, sandbox_id: str) -> None:
        """See `SandboxStore.release`."""
        self._starting.discard((team_id, sandbox_id))
        with speaking():
            await self._redis.zrem(redis_keys.pending(team_id), sandbox_id)

    async def add(self, sandbox: Sandbox) -> None:
        """See `SandboxStore.add`."""
        team_id, sandbox_id = sandbox.team_id, sandbox.sandbox_id
        member = redis_keys.member(team_id, sandbox_id, sandbox.execution_id)
        with speaking():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.set(redis_keys.owner(sandbox_id), team_id)
                pipe.zadd(redis_keys.TEAMS, {team_id: int(time.time())})
                pipe.zadd(redis_keys.EXPIRATION, {member: _milliseconds(sandbox.end_at)})
                pipe.sadd(redis_keys.node(sandbox.node_id), member)
                await pipe.execute()
            keys = [redis_keys.index(team_id), redis_keys.pending(team_id), redis_keys.record(team_id, sandbox_id)]
            await self._add(keys=keys, args=[sandbox_id, encode(sandbox)])
        self._starting.discard((team_id, sandbox_id))

    async def find(self, sandbox_id: str) -> Sandbox | None:
        """See `SandboxStore.find`."""
        found = await self._record(sandbox_id)
        return None if found is None else found[1]

    async def list_team(self, team_id: str) -> Sequence[Sandbox]:
        """See `SandboxStore.list_team`."""
        with speaking():
            ids = [plain(name) for name in await self._redis.smembers(redis_keys.index(team_id))]
            if not ids:
                return []
            texts = await self._redis.mget([redis_keys.record(team_id, sandbox_id) for sandbox_id in ids])
        return [sandbox for text in texts if (sandbox := self._read(text, self._decoded.of)) is not None]

    async def list_node(self, node_id: str) -> Sequence[Sandbox]:
        """See `SandboxStore.list_node`; members that nothing stands behind are mended away."""
        with speaking():
            members = [plain(name) for name in await self._redis.smembers(redis_keys.node(node_id))]
            found = dict(zip(members, await self._of_members(members), strict=True))
            stale = [member for member, sandbox in found.items() if sandbox is None or sandbox.node_id != node_id]
            if stale:
                await self._redis.srem(redis_keys.node(node_id), *stale)
        return [sandbox for member, sandbox in found.items() if sandbox is not None and member not in stale]

    async def count_teams(self) -> Mapping[str, int]:
        """See `SandboxStore.count_teams`."""
        with speaking():
            teams = [plain(name) for name in await self._redis.zrange(redis_keys.TEAMS, 0, -1)]
            async with self._redis.pipeline(transaction=False) as pipe:
                for team_id in teams:
                    pipe.scard(redis_keys.index(team_id))
                counts = await pipe.execute()
        return {team_id: count for team_id, count in zip(teams, counts, strict=True) if count}

    async def is_reserved(self, sandbox_id: str) -> bool:
        """See `SandboxStore.is_reserved`."""
        with speaking():
            team_id = await self._redis.get(redis_keys.owner(sandbox_id))
            if team_id is None:
                return False
            return bool(await self._pending(keys=[redis_keys.pending(plain(team_id))], args=[sandbox_id, _PENDING_SECONDS]))

    async def update(self, sandbox_id: str, execution_id: str, change: Callable[[Sandbox], Sandbox]) -> Sandbox | None:
        """See `SandboxStore.update`; `change` may be called again where somebody was faster."""
        while (found := await self._record(sandbox_id)) is not None:
            text, sandbox = found
            if sandbox.execution_id != execution_id or sandbox.state in TERMINAL:
                return None
            changed = change(sandbox)
            with speaking():
                key = redis_keys.record(sandbox.team_id, sandbox_id)
                if await self._swap(keys=[key], args=[text, encode(changed)]):
                    if changed.end_at != sandbox.end_at:
                        await self._note_end(changed)
                    return changed
        return None

    async def set_end(self, sandbox_id: str, execution_id: str, end_at: datetime) -> bool:
        """See `SandboxStore.set_end`."""
        return await self.update(sandbox_id, execution_id, lambda sandbox: replace(sandbox, end_at=end_at)) is not None

    async def begin(self, sandbox_id: str, target: SandboxState) -> RedisTransition | None:
        """See `SandboxStore.begin`. A change whose owner died is taken over once 70 seconds have passed."""
        while (found := await self._record(sandbox_id)) is not None:
            text, sandbox = found
            # Whoever finds it ending later must see that it is overdue, should this process die.
            end_at = min(sandbox.end_at, datetime.now(UTC)) if target in TERMINAL else sandbox.end_at
            mark = f"{uuid.uuid4()}|{target}"
            keys = [redis_keys.record(sandbox.team_id, sandbox_id), redis_keys.transition(sandbox.team_id, sandbox_id)]
            changed = replace(sandbox, state=target, end_at=end_at)
            with speaking():
                answer = plain(await self._begin(keys=keys, args=[text, encode(changed), mark, _TRANSITION_SECONDS]))
                if answer == "owned":
                    await self._note_end(changed)
                    return RedisTransition(self, replace(sandbox, state=SandboxState.RUNNING), mark, owned=True)
            if answer == "again":
                continue
            if answer.endswith(f"|{target}"):
                return RedisTransition(self, sandbox, answer, owned=False)
            await self._ended(sandbox, answer)
        return None

    async def complete(self, before: Sandbox, mark: str, error: SandbankError | None) -> None:
        """End the change `mark` of a sandbox that was `before` when it began."""
        team_id, sandbox_id = before.team_id, before.sandbox_id
        transition_id, _, target = mark.partition("|")
        drops = error is None and SandboxState(target) in TERMINAL
        keys = [
            redis_keys.record(team_id, sandbox_id),
            redis_keys.index(team_id),
            redis_keys.transition(team_id, sandbox_id),
            redis_keys.outcome(team_id, sandbox_id, transition_id),
        ]
        while True:
            with speaking():
                text = await self._redis.get(keys[0])
                current = self._read(text)
                if text is None or current is None:
                    return
                end_at = before.end_at if SandboxState(target) in TERMINAL else current.end_at
                restored = replace(current, state=SandboxState.RUNNING, end_at=end_at)
                to_be = "" if drops else encode(restored)
                done = await self._complete(keys=keys, args=[mark, text, to_be, sandbox_id, _outcome(error), _OUTCOME_SECONDS])
                if done == 0:
                    continue
                if done == 1:
                    await (self._unindex(current) if drops else self._note_end(restored))
                    await self._redis.publish(redis_keys.NOTIFY, f"{keys[3]}:notify")
                return

    async def join(self, sandbox: Sandbox, mark: str) -> None:
        """Wait for whoever does the work of `mark`."""
        await self._ended(sandbox, mark)
        key = redis_keys.outcome(sandbox.team_id, sandbox.sandbox_id, mark.partition("|")[0])
        with speaking():
            outcome = await self._redis.get(key)
        error = InternalError("whoever worked on the sandbox died, please retry") if outcome is None else _error(outcome)
        if error is not None:
            raise error

    async def forget(self, sandbox_id: str, execution_id: str) -> bool:
        """See `SandboxStore.forget`."""
        found = await self._record(sandbox_id)
        if found is None or found[1].execution_id != execution_id:
            return False
        text, sandbox = found
        team_id = sandbox.team_id
        keys = [redis_keys.record(team_id, sandbox_id), redis_keys.index(team_id), redis_keys.transition(team_id, sandbox_id)]
        with speaking():
            if not await self._forget(keys=keys, args=[text, sandbox_id]):
                return False
            await self._unindex(sandbox)
        return True

    async def expired(self, now: datetime, limit: int, retry_at: datetime) -> Sequence[Sandbox]:
        """See `SandboxStore.expired`. Each is offered to one process at a time."""
        with speaking():
            args = [_milliseconds(now), limit, _milliseconds(retry_at)]
            members = [plain(name) for name in await self._take_due(keys=[redis_keys.EXPIRATION], args=args)]
            found = await self._of_members(members)
            gone = [member for member, sandbox in zip(members, found, strict=True) if sandbox is None]
            if gone:
                await self._redis.zrem(redis_keys.EXPIRATION, *gone)
            due = []
            for sandbox in found:
                if sandbox is not None and sandbox.end_at > now:
                    await self._note_end(sandbox)  # extended by somebody who did not come to say so
                elif sandbox is not None:
                    due.append(sandbox)
            return [sandbox for sandbox, busy in zip(due, await self._are_busy(due), strict=True) if not busy]

    @asynccontextmanager
    async def lock(self, sandbox_id: str) -> AsyncIterator[None]:
        """See `SandboxStore.lock`."""
        async with self._locks.held(redis_keys.lock(sandbox_id)):
            yield

    async def _keep_places(self) -> None:
        while self._starting:
            await asyncio.sleep(_RENEW_SECONDS)
            with contextlib.suppress(UnavailableError), speaking():
                for team_id, sandbox_id in list(self._starting):
                    await self._renew(keys=[redis_keys.pending(team_id)], args=[sandbox_id])
                    # Not that of a sandbox which has started meanwhile: it has no end.
                    await self._redis.expire(redis_keys.owner(sandbox_id), _OWNER_SECONDS, xx=True)

    async def _record(self, sandbox_id: str) -> tuple[str, Sandbox] | None:
        """The record, as it is written and as it is meant."""
        with speaking():
            team_id = await self._redis.get(redis_keys.owner(sandbox_id))
            text = None if team_id is None else await self._redis.get(redis_keys.record(plain(team_id), sandbox_id))
        sandbox = self._read(text)
        return None if sandbox is None else (plain(text), sandbox)

    def _read(self, text: bytes | str | None, read: Callable[[bytes | str], Sandbox] = decode) -> Sandbox | None:
        if text is None:
            return None
        try:
            return read(text)
        except UnreadableRecordError as error:
            if not self._has_met_unreadable:  # say it once
                self._has_met_unreadable = True
                _log.warning("a sandbox's record in Redis cannot be read and counts as none", reason=str(error))
            return None

    async def _of_members(self, members: Sequence[str]) -> list[Sandbox | None]:
        """The sandboxes of those executions, in order."""
        if not members:
            return []
        parts = [member.rsplit(":", 2) for member in members]
        async with self._redis.pipeline(transaction=False) as pipe:
            for team_id, sandbox_id, _ in parts:
                pipe.get(redis_keys.record(team_id, sandbox_id))
            texts = await pipe.execute()
        found = (self._read(text, self._decoded.of) for text in texts)
        return [
            one if one is not None and one.execution_id == execution else None for one, (_, _, execution) in zip(found, parts, strict=True)
        ]

    async def _are_busy(self, sandboxes: Sequence[Sandbox]) -> list[bool]:
        if not sandboxes:
            return []
        async with self._redis.pipeline(transaction=False) as pipe:
            for sandbox in sandboxes:
                pipe.exists(redis_keys.transition(sandbox.team_id, sandbox.sandbox_id))
            return [bool(there) for there in await pipe.execute()]

    async def _ended(self, sandbox: Sandbox, mark: str) -> None:
        """Return when that change is over, however."""
        key = redis_keys.transition(sandbox.team_id, sandbox.sandbox_id)
        notice = f"{redis_keys.outcome(sandbox.team_id, sandbox.sandbox_id, mark.partition('|')[0])}:notify"
        while True:
            waiting = asyncio.ensure_future(self._notices.wait(notice))
            try:
                with speaking():
                    current = await self._redis.get(key)
                if current is None or plain(current) != mark:
                    return
                await waiting
            finally:
                waiting.cancel()

    async def _note_end(self, sandbox: Sandbox) -> None:
        member = redis_keys.member(sandbox.team_id, sandbox.sandbox_id, sandbox.execution_id)
        await self._redis.zadd(redis_keys.EXPIRATION, {member: _milliseconds(sandbox.end_at)})

    async def _unindex(self, sandbox: Sandbox) -> None:
        member = redis_keys.member(sandbox.team_id, sandbox.sandbox_id, sandbox.execution_id)
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.zrem(redis_keys.EXPIRATION, member)
            pipe.srem(redis_keys.node(sandbox.node_id), member)
            # Not at once: a newer execution may be on its way.
            pipe.expire(redis_keys.owner(sandbox.sandbox_id), _OWNER_SECONDS)
            await pipe.execute()


def _outcome(error: SandbankError | None) -> str:
    if error is None:
        return "{}"
    return json.dumps(
        {
            "kind": type(error).__name__,
            "message": error.message,
            "error_code": error.error_code,
            "should_retry": error.should_retry,
        }
    )


def _error(text: str | bytes) -> SandbankError | None:
    document = json.loads(text)
    if not document:
        return None
    kind = getattr(errors, document["kind"], InternalError)
    error: SandbankError = kind(document["message"], error_code=document["error_code"], should_retry=document["should_retry"])
    return error
