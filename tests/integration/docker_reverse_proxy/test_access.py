"""Who gets a token, and where it leads (contract templates-and-data §1.1.2, §16)."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from sandbank.db.database import Database
from sandbank.proxy.local_authority import LocalAuthority
from sandbank.servicekit.public_domain import PublicDomain
from tests.integration.docker_reverse_proxy.oci_layout import MANIFEST
from tests.integration.docker_reverse_proxy.platform import (
    BUILD,
    BUILT_TEMPLATE,
    DELETED_TEMPLATE,
    OTHER_TEMPLATE,
    OTHER_TOKEN,
    TEMPLATE,
    TOKEN,
    Platform,
    add_rows,
    basic,
    platform,
)
from tests.product.postgres import database, database_url, postgres_server

__all__ = ["database", "database_url", "postgres_server"]

PREFIX = f"/v2/e2b/custom-envs/{TEMPLATE}"
CONTENT = b"a layer"
DIGEST = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


async def test_the_gates_stand_in_the_order_of_the_contract(own_store: Platform) -> None:
    """§1.1.2, dispatch order 1 to 6."""
    async with own_store.client() as client:
        health = await client.get("/health")
        assert (health.status_code, health.content) == (200, b"")
        oauth = await client.post("/v2/token", headers={"Authorization": basic(f"_e2b_access_token:{TOKEN}")})
        assert (oauth.status_code, oauth.content) == (404, b"")
        for path in ("/v2/", "/v2/token", f"{PREFIX}/manifests/x", "/anything", "/artifacts-uploads/namespaces/p/repositories/r/uploads/x"):
            answer = await client.patch(path) if path.startswith("/artifacts") else await client.get(path)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == f'Bearer realm="http://{own_store.address}/v2/token"'
            assert answer.headers["docker-distribution-api-version"] == "registry/2.0"
    for token, status in ((await own_store.token(None), 200), (await own_store.token(), 200), ("abc", 401), (TOKEN, 401)):
        async with own_store.client(token) as client:
            assert (await client.get("/v2/")).status_code == status


@pytest.mark.parametrize(
    ("credentials", "status"),
    [
        (f"_e2b_access_token:{TOKEN}", 200),
        (f'_e2b_access_token:"{TOKEN}"', 200),
        (f"_e2b_access_token: {TOKEN}\n", 200),
        (f"_e2b_access_token:{TOKEN}:x", 400),
        (f"admin:{TOKEN}", 400),
        ("_e2b_access_token", 400),
        ("_e2b_access_token:sk_e2b_" + "ff" * 20, 403),
        ("_e2b_access_token:e2b_53ae1fed82754c17ad8077fbc8bcdd90", 403),
    ],
)
async def test_a_token_costs_an_access_token(own_store: Platform, credentials: str, status: int) -> None:
    """§16: quotes are accepted, an extra colon is not."""
    async with own_store.client() as client:
        answer = await client.get("/v2/token", headers={"Authorization": basic(credentials)})
        assert answer.status_code == status
        assert answer.text == "invalid access token" if status == 403 else status == 200 or answer.content == b""
        assert (await client.get("/v2/token", headers={"Authorization": "Basic !!!"})).status_code == 400
        assert (await client.get("/v2/token", headers={"Authorization": f"Bearer {TOKEN}"})).status_code == 400


async def test_the_published_token_opens_nothing_where_strangers_can_connect(tmp_path: Path, rows: Database) -> None:
    """As at the API: it is printed in E2B's documentation."""
    async with platform(tmp_path, rows, allow_seeded_credentials=False) as found:
        assert (await found.ask_token()).status_code == 403
        assert (await found.ask_token(OTHER_TEMPLATE, access_token=OTHER_TOKEN)).status_code == 200


@pytest.mark.parametrize(
    ("scope", "status"),
    [
        (f"repository:e2b/custom-envs/{TEMPLATE}:push,pull", 200),
        (f"repository:e2b/custom-envs/{TEMPLATE}:push,pull,delete", 403),
        (f"repository:e2b/custom-envs/{TEMPLATE}:delete", 403),
        ("repository:other/x:pull", 400),
        ("", 400),
        (f"repository:e2b/custom-envs/{TEMPLATE}", 400),
        (f"repository:e2b/custom-envs/{TEMPLATE}/../{OTHER_TEMPLATE}:push", 403),
        (f"repository:e2b/custom-envs/{OTHER_TEMPLATE}:push", 403),
        (f"repository:e2b/custom-envs/{BUILT_TEMPLATE}:push", 403),
        (f"repository:e2b/custom-envs/{DELETED_TEMPLATE}:push", 403),
    ],
)
async def test_a_token_is_for_one_template_that_waits_for_its_image(own_store: Platform, scope: str, status: int) -> None:
    """§1.1.2 and §16: of several scopes the first counts."""
    async with own_store.client() as client:
        headers = {"Authorization": basic(f"_e2b_access_token:{TOKEN}")}
        answer = await client.get("/v2/token", params={"scope": [scope, "repository:other/x:pull"]}, headers=headers)
    assert answer.status_code == status
    if status == 200:
        assert answer.headers["content-type"] == "application/json"
        assert len(answer.json()["token"]) == 172  # 128 bytes in base64
        assert answer.json()["expires_in"] == 3600
    else:
        assert answer.content == b""


async def test_both_databases_know_who_may_push(tmp_path: Path, database: Database) -> None:
    """The same query over SQLite and PostgreSQL."""
    await add_rows(database)
    async with platform(tmp_path / "data", database) as found:
        assert (await found.ask_token()).status_code == 200
        for template_id, token in ((TEMPLATE, OTHER_TOKEN), (OTHER_TEMPLATE, TOKEN), (BUILT_TEMPLATE, TOKEN), (DELETED_TEMPLATE, TOKEN)):
            assert (await found.ask_token(template_id, access_token=token)).status_code == 403


async def test_a_database_that_is_away_is_a_500_and_a_registry_that_is_away_too(tmp_path: Path, rows: Database) -> None:
    """§1.1.2: `DB error → 500`, `upstream token: failure → 500`; a push under way gets a 502."""
    async with platform(tmp_path, Database(f"sqlite+aiosqlite:///{tmp_path}/none/x.db")) as found:
        assert (await found.ask_token()).status_code == 500
    async with platform(tmp_path, rows, "http://127.0.0.1:9", docker_reverse_proxy_secret="a" * 32) as found:
        assert (await found.ask_token()).status_code == 500
        async with platform(tmp_path, rows, docker_reverse_proxy_secret="a" * 32) as other:
            token = await other.token()
        async with found.client(token) as client:
            answer = await client.get(f"{PREFIX}/manifests/x")
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (502, "UNAVAILABLE")


@pytest.fixture
async def client(served: Platform) -> AsyncIterator[httpx.AsyncClient]:
    """With a token for TEMPLATE, in front of either registry."""
    async with served.client(await served.token()) as found:
        yield found


async def _upload(client: httpx.AsyncClient, content: bytes = CONTENT) -> str:
    """The digest of a blob that is uploaded as Docker does it: POST, PATCH, PUT."""
    started = await client.post(f"{PREFIX}/blobs/uploads/")
    assert started.status_code == 202
    patched = await client.patch(started.headers["location"], content=content)
    assert patched.status_code == 202
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    location = httpx.URL(patched.headers["location"]).copy_merge_params({"digest": digest})
    assert (await client.put(location)).status_code == 201
    return digest


async def test_uploads_go_on_here(served: Platform, client: httpx.AsyncClient) -> None:
    """§1.1.2: every `Location` leads back to the proxy, into the token's template, and to nobody else's."""
    started = await client.post(f"{PREFIX}/blobs/uploads/")
    assert started.headers["location"].startswith(f"{PREFIX}/blobs/uploads/")
    location = started.headers["location"]
    async with served.client(await served.token(OTHER_TEMPLATE, access_token=OTHER_TOKEN)) as other:
        assert (await other.patch(location, content=b"x")).status_code == 403
        assert (await other.patch(location.replace(TEMPLATE, OTHER_TEMPLATE), content=b"x")).status_code in (400, 404)
    async with served.client() as nobody:
        assert (await nobody.patch(location, content=b"x")).status_code == 401
    assert (await client.patch(location, content=CONTENT)).status_code == 202

    digest = await _upload(client, b"another layer")
    got = await client.get(f"{PREFIX}/blobs/{digest}")
    assert got.content == b"another layer"
    assert (await client.head(f"{PREFIX}/blobs/{digest}")).headers["content-length"] == "13"


async def test_a_wrong_digest_is_refused(client: httpx.AsyncClient) -> None:
    """Of a blob and of a manifest."""
    started = await client.post(f"{PREFIX}/blobs/uploads/")
    location = httpx.URL(started.headers["location"]).copy_merge_params({"digest": DIGEST})
    answer = await client.put(location, content=b"something else")
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "DIGEST_INVALID")
    answer = await client.put(f"{PREFIX}/manifests/{DIGEST}", content=b"{}", headers={"Content-Type": MANIFEST})
    assert answer.status_code == 400


async def test_a_layer_of_another_template_cannot_be_mounted(served: Platform, client: httpx.AsyncClient) -> None:
    """A mount with our credentials would hand out what others pushed: the client is told to upload instead."""
    digest = await _upload(client)
    async with served.client(await served.token(OTHER_TEMPLATE, access_token=OTHER_TOKEN)) as other:
        path = f"/v2/e2b/custom-envs/{OTHER_TEMPLATE}/blobs"
        for source in (f"e2b/custom-envs/{TEMPLATE}", f"{served.prefix}{TEMPLATE}"):
            answer = await other.post(f"{path}/uploads/", params={"mount": digest, "from": source})
            assert answer.status_code == 202
        assert (await other.head(f"{path}/{digest}")).status_code == 404
    answer = await client.post(f"{PREFIX}/blobs/uploads/", params={"mount": digest, "from": f"e2b/custom-envs/{TEMPLATE}"})
    assert answer.status_code == 201


TRICKS = (
    f"/v2/e2b/custom-envs/{OTHER_TEMPLATE}/manifests/x",
    f"/v2/e2b/custom-envs/{TEMPLATE}/../{OTHER_TEMPLATE}/manifests/x",
    f"/v2/e2b/custom-envs/{TEMPLATE}/%2e%2e/{OTHER_TEMPLATE}/manifests/x",
    f"/v2/e2b/custom-envs/{TEMPLATE}%2f..%2f{OTHER_TEMPLATE}/manifests/x",
    f"/v2/e2b/custom-envs/{TEMPLATE}/..%2f{OTHER_TEMPLATE}/manifests/x",
    f"/v2/e2b/custom-envs/{TEMPLATE}/e2b/custom-envs/{OTHER_TEMPLATE}/manifests/x",
    f"/v2/e2b/custom-envs/{TEMPLATE}:x/manifests/x",
    f"/v2/e2b/custom-envs/{TEMPLATE}//manifests/x",
    f"/v2/e2b/custom-envs//{TEMPLATE}/manifests/x",
    f"//v2/e2b/custom-envs/{TEMPLATE}/manifests/x",
    f"/v2//e2b/custom-envs/{TEMPLATE}/manifests/x",
    f"/v2/e2b/custom-envs/{TEMPLATE}/manifests/..",
    f"/v2/e2b/custom-envs/{TEMPLATE}/manifests/%2e",
    f"/v2/e2b/custom-envs/{TEMPLATE}/manifests/",
    f"/v2/e2b/custom-envs/{TEMPLATE}/blobs/uploads/..",
    f"/v2/e2b/custom-envs/{TEMPLATE}/blobs/uploads/s.AAAA",
    f"/v2/e2b/custom-envs/{TEMPLATE}/blobs/uploads/x/../../manifests/y",
    f"/v2/e2b/custom-envs/{TEMPLATE}",
    f"/v2/sandbank/images/{TEMPLATE}/manifests/x",
    f"/v2/{TEMPLATE}/manifests/x",
    "/v2/_catalog",
    "/v2/token/../_catalog",
    "/artifacts-uploads/namespaces/p/repositories/r/uploads/x",
    "/",
)


async def test_path_tricks_lead_nowhere(own_store: Platform) -> None:
    """§1.1.2: anything but the token's template is 403, empty; said as bytes, since clients' libraries would tidy paths up."""
    token = await own_store.token()
    head = f"HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    for method, path in itertools.product(("GET", "PUT"), TRICKS):
        reader, writer = await asyncio.open_connection("127.0.0.1", own_store.port)
        writer.write(f"{method} {path} {head}".encode())
        answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 403 "), (path, answer)
        assert b"Content-Length: 0\r\n" in answer


async def test_nothing_is_deleted(client: httpx.AsyncClient) -> None:
    """Neither images nor layers, and not by other methods either."""
    digest = await _upload(client)
    for path in (f"{PREFIX}/blobs/{digest}", f"{PREFIX}/manifests/{BUILD}", PREFIX, f"{PREFIX}/blobs/uploads/x"):
        assert (await client.delete(path)).status_code == 403
    assert (await client.post(f"{PREFIX}/manifests/{BUILD}", headers={"X-HTTP-Method-Override": "DELETE"})).status_code == 403
    assert (await client.head(f"{PREFIX}/blobs/{digest}")).status_code == 200


async def test_a_token_for_the_login_opens_no_repository(own_store: Platform) -> None:
    """§1.1.2: bound to a template that there is not."""
    async with own_store.client(await own_store.token(None)) as client:
        for path in (f"{PREFIX}/manifests/x", "/v2/e2b/custom-envs//manifests/x"):
            assert (await client.get(path)).status_code == 403


async def test_every_replica_honours_the_token_of_another(tmp_path: Path, rows: Database, registry_url: str) -> None:
    """The tokens are signed; so is what uploads go on with."""
    async with (
        platform(tmp_path / "1", rows, registry_url, docker_reverse_proxy_secret="s" * 32) as first,
        platform(tmp_path / "2", rows, registry_url, docker_reverse_proxy_secret="s" * 32) as second,
        platform(tmp_path / "3", rows, registry_url) as stranger,
    ):
        token = await first.token()
        async with first.client(token) as one, second.client(token) as two, stranger.client(token) as three:
            location = (await one.post(f"{PREFIX}/blobs/uploads/")).headers["location"]
            assert (await two.patch(location, content=CONTENT)).status_code == 202
            assert (await three.get("/v2/")).status_code == 401


async def test_one_port_takes_tls_and_says_so(tmp_path: Path, rows: Database) -> None:
    """The realm has the scheme and host that the client used, or the configured ones."""
    authority = LocalAuthority(tmp_path / "ca", PublicDomain.parse("sandbank.localhost"))
    authority.prepare()
    trust = ssl.create_default_context(cafile=authority.certificate)
    async with platform(tmp_path, rows, domain="sandbank.localhost", local_ca_dir=tmp_path / "ca") as found:
        async with httpx.AsyncClient(verify=trust, trust_env=False) as client:
            answer = await client.get(f"https://localhost:{found.port}/v2/")
        assert answer.headers["www-authenticate"] == f'Bearer realm="https://localhost:{found.port}/v2/token"'
        async with found.client() as client:
            answer = await client.get("/v2/", headers={"Host": "docker.example.com"})
        assert answer.headers["www-authenticate"] == 'Bearer realm="http://docker.example.com/v2/token"'
    async with platform(tmp_path, rows, docker_reverse_proxy_url="https://docker.example.com/") as found, found.client() as client:
        assert (await client.get("/v2/")).headers["www-authenticate"] == 'Bearer realm="https://docker.example.com/v2/token"'


async def test_http2_is_the_same_and_grpc_no_way_around(own_store: Platform) -> None:
    """§1.1.2: HTTP/1 + h2c."""
    headers = {"Authorization": f"Bearer {await own_store.token()}"}
    async with httpx.AsyncClient(
        http1=False, http2=True, base_url=f"http://{own_store.address}", headers=headers, trust_env=False
    ) as client:
        digest = await _upload(client)
        answer = await client.get(f"{PREFIX}/blobs/{digest}")
        assert (answer.http_version, answer.content) == ("HTTP/2", CONTENT)
        assert (await client.get(f"{PREFIX}/blobs/{digest}", headers={"Content-Type": "application/grpc"})).status_code == 403
        assert (await client.get(f"/v2/e2b/custom-envs/{OTHER_TEMPLATE}/blobs/{digest}")).status_code == 403


async def test_a_taken_port_is_one_clear_line(tmp_path: Path, rows: Database) -> None:
    """As for the other services."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Exception, match=f"the Docker reverse proxy cannot listen on 127.0.0.1 port {port}"):
            async with platform(tmp_path, rows, docker_reverse_proxy_port=port):
                pass
