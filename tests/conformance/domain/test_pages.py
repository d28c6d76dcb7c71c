"""What browsers and other TLS clients do to the one port: pages, WebSockets, CORS, the API (contract sdk-latest §2.1, §2.2)."""

from __future__ import annotations

import hashlib
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from e2b import Sandbox
from websockets.sync.client import connect

from tests.conformance.domain.clients import Address
from tests.product.instance import SEEDED_API_KEY, Instance, wait_until

PROGRAM = (Path(__file__).parents[1] / "guest" / "web_server.py").read_text()
KEY = {"X-API-KEY": SEEDED_API_KEY}


@pytest.fixture(scope="module")
def trust(address: Address) -> ssl.SSLContext:
    """A client that trusts the local CA and nobody else."""
    return ssl.create_default_context(cafile=str(address.authority))


@pytest.fixture(scope="module", params=["HTTP/1.1", "HTTP/2"])
def client(request: pytest.FixtureRequest, trust: ssl.SSLContext) -> Iterator[httpx.Client]:
    """Speaks one version of HTTP, chosen by ALPN, and proves it with every answer."""
    context = ssl.create_default_context()
    context.load_verify_locations(cadata=ssl.DER_cert_to_PEM_cert(trust.get_ca_certs(binary_form=True)[0]))

    def check(response: httpx.Response) -> None:
        assert response.http_version == request.param

    two = request.param == "HTTP/2"
    with httpx.Client(verify=context, http2=two, http1=not two, event_hooks={"response": [check]}, timeout=30) as made:
        yield made


@pytest.fixture(scope="module")
def web(server: Instance, trust: ssl.SSLContext) -> Iterator[Sandbox]:
    """A sandbox with a web server on 8000."""
    sandbox = Sandbox.create(timeout=300)
    sandbox.files.write("/home/user/program.py", PROGRAM)
    sandbox.commands.run("python3 program.py 127.0.0.1 8000", background=True, timeout=0)
    wait_until(lambda: httpx.get(f"https://{sandbox.get_host(8000)}/", verify=trust).status_code == 200, "the web server")
    yield sandbox
    sandbox.kill()


def test_pages_of_a_sandbox_have_an_address(web: Sandbox, client: httpx.Client) -> None:
    answer = client.get(f"https://{web.get_host(8000)}/a?b=1")
    assert (answer.status_code, answer.headers["X-From"]) == (200, "sandbox")
    assert f"path=/a?b=1 host={web.get_host(8000)}" in answer.text


def test_the_same_port_takes_cleartext(web: Sandbox) -> None:
    """No redirect: the port is what `http://` in E2B_SANDBOX_URL names."""
    answer = httpx.get(f"http://{web.get_host(8000)}/", headers={"User-Agent": "Mozilla/5.0", "Sec-Fetch-Mode": "navigate"})
    assert (answer.status_code, answer.headers["X-From"]) == (200, "sandbox")


def test_big_bodies_arrive_intact(web: Sandbox, client: httpx.Client) -> None:
    piece = bytes(range(256)) * 4096
    pieces = 48
    expected = f"{hashlib.sha256(piece * pieces).hexdigest()} {len(piece) * pieces}"
    url = f"https://{web.get_host(8000)}/"
    assert client.post(url, content=piece * pieces).text == expected
    assert client.post(url, content=(piece for _ in range(pieces))).text == expected


def test_answers_arrive_as_they_are_made(web: Sandbox, client: httpx.Client) -> None:
    with client.stream("GET", f"https://{web.get_host(8000)}/stream") as answer:
        seen = list(answer.iter_raw())
    assert b"".join(seen) == b"event 0event 1event 2"
    assert len(seen) == 3, "the program pauses between them: nothing may wait for the next"


def test_websockets_over_tls(web: Sandbox, trust: ssl.SSLContext) -> None:
    """`wss://`: a WebSocket is asked for in HTTP/1.1, whatever else the port offers."""
    origin = f"https://{web.get_host(8000)}"
    with connect(f"wss://{web.get_host(8000)}/socket", ssl=trust, additional_headers={"Origin": origin}) as socket:
        for message in ("hello", "x" * 60_000, b"\x00\xff binary"):
            socket.send(message)
            assert socket.recv(timeout=20) == message


CALLS = {
    "api": ("/v2/sandboxes", "content-type,x-api-key,lang,lang_version,package_version,publisher,sdk_runtime,system,browser"),
    "agent": ("/process.Process/Start", "content-type,x-access-token,e2b-sandbox-id,e2b-sandbox-port,connect-protocol-version"),
}


@pytest.mark.parametrize("where", CALLS)
def test_pages_may_call_the_api_and_the_agent(web: Sandbox, address: Address, client: httpx.Client, where: str) -> None:
    """CORS: what a browser asks before a page at one sandbox's address may use the SDK."""
    path, headers = CALLS[where]
    host = f"api.{address.domain}" if where == "api" else web.get_host(49983)
    origin = f"https://{web.get_host(8000)}"
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": headers}
    answer = client.options(f"https://{host}{path}", headers=asked)
    assert answer.status_code in {200, 204}, answer.text
    assert answer.headers["Access-Control-Allow-Origin"] in {"*", origin}
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]


def test_the_api_answers_by_name_as_it_does_by_address(server: Instance, address: Address, client: httpx.Client, web: Sandbox) -> None:
    by_name, by_address = f"https://api.{address.domain}", server.api_url
    for method, path in (
        ("GET", "/health"),
        ("GET", f"/sandboxes/{web.sandbox_id}"),
        ("GET", "/sandboxes/NOT-AN-ID"),
        ("GET", "/no/such/route"),
    ):
        here, there = client.request(method, by_name + path, headers=KEY), httpx.request(method, by_address + path, headers=KEY)
        assert (here.status_code, here.content) == (there.status_code, there.content)
    assert client.get(f"{by_name}/v2/sandboxes").status_code == 401


def test_answers_carry_the_domain(address: Address, client: httpx.Client, web: Sandbox) -> None:
    """Create, connect and get, in both generations (contract sdk-latest §1.5)."""
    api = f"https://api.{address.domain}"
    for version in ("", "/v2"):
        made = client.post(f"{api}{version}/sandboxes", headers=KEY, json={"templateID": "base", "timeout": 60})
        assert (made.status_code, made.json()["domain"]) == (201, address.domain)
        sandbox = made.json()["sandboxID"]
        connected = client.post(f"{api}{version}/sandboxes/{sandbox}/connect", headers=KEY, json={"timeout": 60})
        assert (connected.status_code, connected.json()["domain"]) == (200, address.domain)
        assert client.get(f"{api}/sandboxes/{sandbox}", headers=KEY).json()["domain"] == address.domain
        assert client.delete(f"{api}/sandboxes/{sandbox}", headers=KEY).status_code == 204


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_curl_accepts_the_certificate(address: Address, version: str) -> None:
    command = ["curl", "-sS", version, "--cacert", str(address.authority), "-w", "%{http_version}", f"https://api.{address.domain}/health"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith({"--http1.1": "1.1", "--http2": "2"}[version])


def test_openssl_verifies_names_and_protocols(server: Instance, address: Address) -> None:
    name = f"49983-iaaaaaaaaaaaaaaaaaaaa.{address.domain.partition(':')[0]}"
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.proxy_address[1]}", "-servername", name, "-verify_hostname", name]
    command += ["-CAfile", str(address.authority), "-verify_return_error", "-x509_strict", "-alpn", "http/1.1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30, stdin=subprocess.DEVNULL)
    assert "Verification: OK" in done.stdout, done.stdout + done.stderr
    assert "ALPN protocol: http/1.1" in done.stdout
    refused = subprocess.run([*command, "-tls1_1"], capture_output=True, text=True, check=False, timeout=30, stdin=subprocess.DEVNULL)
    assert refused.returncode != 0, "nothing older than TLS 1.2"
