"""The agent serves itself a few requests in the zygote.

The interpreter rewrites code as it runs for the first times; done here, the rewritten pages are shared by all sandboxes instead of copied
into each, and a sandbox's first command takes the warm path. The standard library's loop is used: the first loop of uvloop leaves
descriptors behind that a fork must not close.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct

from sandbank.aiokit.tasks import TaskGroup
from sandbank.envd.application import Application
from sandbank.envd.journal import JOURNAL, report
from sandbank.envd.state import AgentState
from sandbank.envd.transport.connection import Connection
from sandbank.envd.transport.connections import Connections

ROUNDS = 12  # the interpreter specialises a function after eight calls


def _request(method: str, target: str, kind: str = "", body: bytes = b"") -> bytes:
    head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    head += "User-Agent: rehearsal\r\nAccept-Encoding: identity\r\nConnect-Protocol-Version: 1\r\nConnect-Timeout-Ms: 60000\r\n"
    return f"{head}Keepalive-Ping-Interval: 50\r\nAuthorization: Basic cm9vdDo=\r\n\r\n".encode() + body


def _requests() -> list[bytes]:
    start = json.dumps({"process": {"cmd": "/bin/echo", "args": ["hi"], "envs": {"A": "b"}, "cwd": "/"}, "stdin": False}).encode()
    stat = json.dumps({"path": "/etc/passwd"}).encode()
    return [
        _request("GET", "/health"),
        _request("GET", "/files?path=/etc/passwd&username=root"),
        _request("POST", "/filesystem.Filesystem/Stat", "application/json", stat),
        _request("POST", "/filesystem.Filesystem/ListDir", "application/json", b'{"path":"/etc/ssl"}'),
        _request("POST", "/process.Process/List", "application/json", b"{}"),
        _request("POST", "/process.Process/SendSignal", "application/json", b'{"process":{"tag":"none"},"signal":"SIGNAL_SIGKILL"}'),
        _request("POST", "/process.Process/Start", "application/connect+json", struct.pack(">BI", 0, len(start)) + start),
    ]


async def _perform() -> None:
    state = AgentState("rehearsal", "rehearsal", memory_limit_bytes=0, cpu_count=1, disk_limit_bytes=0)
    application = Application(state)
    tasks = TaskGroup("rehearsal", report)
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    connections = Connections()
    await loop.connect_accepted_socket(lambda: Connection(application.handle, tasks, report, connections), theirs)
    reader, writer = await asyncio.open_connection(sock=ours)
    try:
        for _ in range(ROUNDS):
            for request in _requests():
                writer.write(request)
                async with asyncio.timeout(10):
                    await _read_answer(reader, application)
    finally:
        writer.close()
        await writer.wait_closed()
        connections.abort()
        await tasks.close()
        await asyncio.sleep(0)


async def _read_answer(reader: asyncio.StreamReader, application: Application) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    if b"Transfer-Encoding" in head:
        while application.processes.list_processes():  # no signal handler of ours is installed here
            application.processes.reap()
            await asyncio.sleep(0.001)
        await reader.readuntil(b"0\r\n\r\n")
    elif b"Content-Length: " in head:
        await reader.readexactly(int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0]))


def rehearse() -> None:
    """Blocks for a fraction of a second; leaves no descriptor, task or child.

    The caller must have no children: exits are collected without asking whose they are.
    """
    loop = asyncio.SelectorEventLoop()
    JOURNAL.open(lambda: None)
    try:
        loop.run_until_complete(_perform())
        JOURNAL.peek(1)
    finally:
        JOURNAL.close()
        loop.close()
