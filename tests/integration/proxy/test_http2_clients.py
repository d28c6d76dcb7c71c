"""Real clients: curl, httpx, Node and the official SDKs over TLS with ALPN (contract data-plane §7, sdk-latest §1.1, §2.2, §2.4)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from sandbank.proxy.local import LocalResolver
from sandbank.proxy.routes import RouteTable
from sandbank.proxy.server import ProxyServer
from sandbank.version import ENVD_VERSION
from tests.integration.envd.driving import running_agent
from tests.integration.proxy.certificates import Authority
from tests.integration.proxy.test_http2 import mirror
from tests.integration.proxy.wire import SANDBOX, origin, read_head, route_to

DOMAIN = "sbx.localhost"
MODULES = Path(__file__).resolve().parents[2] / "conformance" / "javascript"


class Recorded(ProxyServer):
    """Remembers which protocols were spoken."""

    def __init__(self, routes: RouteTable, authority: Authority) -> None:
        context = authority.server_context(f"*.{DOMAIN}")
        super().__init__("both", LocalResolver(routes, first_hop=True), host="127.0.0.1", port=0, tls=lambda: context)
        self.protocols: set[str] = set()

    def opened(self, connection: object) -> bool:
        self.protocols.add(type(connection).__name__)
        return super().opened(connection)  # type: ignore[arg-type]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def front(routes: RouteTable, authority: Authority) -> AsyncIterator[Recorded]:
    server = Recorded(routes, authority)
    await server.start()
    yield server
    await server.stop()


async def run(*command: str, **environment: str) -> str:
    """A program's output; it must succeed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("E2B_", "SSL_")) and "proxy" not in name.lower()}
    process = await asyncio.create_subprocess_exec(
        *command, env=kept | environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        output, errors = await process.communicate()
    assert process.returncode == 0, f"{command[0]} ended with {process.returncode}: {output.decode()} {errors.decode()}"
    return output.decode()


@pytest.mark.parametrize("how", ["prior knowledge", "upgrade", "upgrade with a body", "tls", "tls 1.1", "upload", "chunked upload"])
async def test_curl(front: Recorded, authority: Authority, how: str, tmp_path: Path) -> None:
    (tmp_path / "upload").write_bytes(b"line\n" * 1_000_000)
    file = str(tmp_path / "upload")
    options, secure, version, sent = {
        "prior knowledge": (["--http2-prior-knowledge"], False, "2", None),
        "upgrade": (["--http2"], False, "2", None),
        "upgrade with a body": (["--http2", "-d", "hello"], False, "2", b"hello"),
        "tls": (["--http2"], True, "2", None),
        "tls 1.1": (["--http1.1"], True, "1.1", None),
        "upload": (["--http2", "-X", "PUT", "--data-binary", f"@{file}"], True, "2", b"line\n"),
        "chunked upload": (["--http2-prior-knowledge", "-X", "PUT", "-T", "-", "--no-buffer"], False, "2", b""),
    }[how]
    async with origin(mirror) as port:
        name = f"{port}-{SANDBOX}.{DOMAIN}"
        url = f"{'https' if secure else 'http'}://{name}:{front.port}/x?y=z"
        common = [
            "-sS",
            "--cacert",
            str(authority.path),
            "--resolve",
            f"{name}:{front.port}:127.0.0.1",
            "-w",
            "\n%{http_version} %{http_code}",
        ]
        output = await run("curl", *common, *options, url)
    body, _, facts = output.rpartition("\n")
    assert facts == f"{version} 200"
    assert body.startswith(("GET /x?y=z HTTP/1.1\r\n", "POST /x?y=z", "PUT /x?y=z"))
    assert f"host: {name}:{front.port}".lower() in body.lower()
    if sent:
        assert body.encode().rstrip(b"\n").endswith(sent.rstrip(b"\n"))


async def test_httpx(front: Recorded, authority: Authority) -> None:
    async with origin(mirror) as port, httpx.AsyncClient(http2=True, verify=authority.client_context(), trust_env=False) as browser:
        url = f"https://{port}-{SANDBOX}.{DOMAIN}:{front.port}/"
        answers = await asyncio.gather(*(browser.post(url, content=f"{number}" * 1000) for number in range(50)))
        for number, answer in enumerate(answers):
            assert (answer.status_code, answer.http_version) == (200, "HTTP/2")
            assert answer.text.endswith("\r\n\r\n" + f"{number}" * 1000)


NODE = """
const http2 = require('http2');
const session = http2.connect(process.argv[1]);
const stream = session.request({':path': '/', ':method': 'POST', 'te': 'trailers'}, {endStream: false});
let text = '', trailers = null;
stream.on('response', () => { stream.write('one '); setTimeout(() => stream.end('two'), 50); });
stream.on('data', data => { text += data; });
stream.on('trailers', headers => { trailers = headers['x-sum']; });
stream.on('close', () => { console.log(JSON.stringify({text, trailers, code: stream.rstCode})); session.close(); });
"""


async def test_node(front: Recorded, authority: Authority) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while size := int(await reader.readline(), 16):
            writer.write(b"%x\r\n" % size + await reader.readexactly(size + 2))
        writer.write(b"0\r\nX-Sum: 7\r\n\r\n")

    async with origin(echo) as port:
        url = f"https://{port}-{SANDBOX}.{DOMAIN}:{front.port}"
        said = json.loads(await run("node", "-e", NODE, "--", url, NODE_EXTRA_CA_CERTS=str(authority.path)))
    assert said == {"text": "one two", "trailers": "7", "code": 0}


PYTHON = """
import os
from e2b import Sandbox, SandboxException, TimeoutException
sandbox = Sandbox.create(api_key="e2b_" + "0" * 40)
assert sandbox.commands.run("echo hello").stdout == "hello\\n"
sandbox.files.write("/tmp/sandbank-http2", b"x" * 3_000_000)
assert len(sandbox.files.read("/tmp/sandbank-http2", format="bytes")) == 3_000_000
sandbox.files.remove("/tmp/sandbank-http2")
handle = sandbox.commands.run("cat", background=True, stdin=True)
with_output = []
sandbox.commands.send_stdin(handle.pid, "typed\\n")
sandbox.commands.close_stdin(handle.pid)
assert handle.wait(on_stdout=with_output.append).stdout == "typed\\n"
assert with_output == ["typed\\n"]
cut = sandbox.commands.run("echo begun; sleep " + os.environ["SECONDS_TO_SLEEP"], background=True)
print("begun", flush=True)
try:
    cut.wait()
except TimeoutException as error:
    assert "killed or reached its end of life" in str(error), error
    print(type(error).__name__)
"""


async def _api(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Stands for the API, which only names the sandbox."""
    head = await read_head(reader)
    if b"100-continue" in head:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    created = json.dumps({"templateID": "base", "sandboxID": SANDBOX, "clientID": "x", "envdVersion": ENVD_VERSION}).encode()
    writer.write(
        b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(created)
    )
    writer.write(created)
    await writer.drain()
    while not (await reader.read(1000)).endswith((b"}", b"0\r\n\r\n", b"")):
        pass


@asynccontextmanager
async def _sandbox(routes: RouteTable) -> AsyncIterator[str]:
    """A real agent behind the proxy's one sandbox; the URL of an API that names it."""
    with running_agent() as agent:
        routes.add(route_to(real_port=agent.port))
        async with origin(_api) as api:
            yield f"http://127.0.0.1:{api}"


async def test_the_python_sdk(front: Recorded, routes: RouteTable, authority: Authority) -> None:
    """Trusts what `SSL_CERT_FILE` names; speaks HTTP/2, and HTTP/1.1 for downloads; tells a cut stream from a failure (§6.3)."""
    async with _sandbox(routes) as api:
        environment = {"E2B_API_URL": api, "E2B_DOMAIN": f"{DOMAIN}:{front.port}", "SSL_CERT_FILE": str(authority.path)}
        seconds = f"20.{secrets.randbelow(10**9)}"  # by which this run's program is known
        running = asyncio.ensure_future(run(sys.executable, "-c", PYTHON, SECONDS_TO_SLEEP=seconds, **environment))
        while not await asyncio.to_thread(_sleeps, seconds) and not running.done():
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.3)
        routes.remove(SANDBOX)
        output = await running
    assert output.split() == ["begun", "SandboxNotRunningException"]
    assert front.protocols == {"Http2Connection", "ClientConnection"}


def _sleeps(seconds: str) -> bool:
    """Whether a program sleeps for just as long."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if path.read_bytes().split(b"\0")[:2] == [b"sleep", seconds.encode()]:
                return True
    return False


JAVASCRIPT = """
import { Sandbox } from 'e2b'
const sandbox = await Sandbox.create({ apiKey: 'e2b_' + '0'.repeat(40) })
const result = await sandbox.commands.run('echo hello')
await sandbox.files.write('/tmp/sandbank-http2-js', 'x'.repeat(3000000))
const text = await sandbox.files.read('/tmp/sandbank-http2-js')
await sandbox.files.remove('/tmp/sandbank-http2-js')
console.log(JSON.stringify({ stdout: result.stdout, size: text.length }))
process.exit(0)
"""


async def test_the_javascript_sdk(front: Recorded, routes: RouteTable, authority: Authority) -> None:
    """Trusts what `NODE_EXTRA_CA_CERTS` names; speaks HTTP/2."""
    script = MODULES / f".http2-{os.getpid()}.mjs"  # modules are found beside it
    script.write_text(JAVASCRIPT)
    try:
        async with _sandbox(routes) as api:
            environment = {"E2B_API_URL": api, "E2B_DOMAIN": f"{DOMAIN}:{front.port}", "NODE_EXTRA_CA_CERTS": str(authority.path)}
            said = json.loads(await run("node", str(script), **environment))
    finally:
        script.unlink()
    assert said == {"stdout": "hello\n", "size": 3_000_000}
    assert "Http2Connection" in front.protocols
