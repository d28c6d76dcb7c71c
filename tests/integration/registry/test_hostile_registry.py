"""A registry that stalls, lies, sends without end or leads elsewhere is a clear error, and leaves nothing (templates contract §1.12)."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandbank.domain.errors import DeadlineError, DeniedError, InvalidError, SandbankError, UnavailableError
from sandbank.registry.connection import Connection
from sandbank.registry.credentials import AwsCredentials, BasicCredentials, GcpCredentials, RegistryCredentials
from sandbank.registry.limits import PullLimits
from sandbank.registry.pull import pull_image
from tests.integration.registry.hostile import HostileRegistry, Request, response, running
from tests.integration.registry.images import Image, archive, digest_of, entry, local_limits

CONTENT = bytes(range(256)) * 16_384  # 4 MiB
LIMITS = local_limits(stall_seconds=0.5, attempts=2, total_seconds=20)


@pytest.fixture
async def registry() -> AsyncIterator[HostileRegistry]:
    async with running(Image.of([archive(entry("file", CONTENT)), archive(entry("second", b"2"))], compressions=["", "+gzip"])) as registry:
        yield registry


async def pull(
    registry: HostileRegistry, tmp_path: Path, limits: PullLimits = LIMITS, credentials: RegistryCredentials | None = None
) -> None:
    target = tmp_path / "root"
    target.mkdir(exist_ok=True)
    await pull_image(registry.name, credentials=credentials, architecture="amd64", target=target, limits=limits, progress=print)


async def refused(registry: HostileRegistry, tmp_path: Path, limits: PullLimits = LIMITS) -> SandbankError:
    """The error, once it is known that nothing is left of the attempt."""
    with pytest.raises(SandbankError) as caught:
        await pull(registry, tmp_path, limits)
    assert [path.name for path in tmp_path.iterdir()] == ["root"]
    assert list((tmp_path / "root").iterdir()) == []
    assert registry.name in caught.value.message or "uncompressed" in caught.value.message
    return caught.value


async def test_an_interrupted_layer_is_resumed_where_it_ended(registry: HostileRegistry, tmp_path: Path) -> None:
    digest = registry.image.layer_digests[0]
    blob = registry.image.blobs[digest]

    async def half(request: Request, writer: asyncio.StreamWriter) -> None:
        start = int(request.headers.get("range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        if start:
            writer.write(response(206, blob[start:], Content_Range=f"bytes {start}-{len(blob) - 1}/{len(blob)}"))
        else:
            writer.write(response(200, blob)[: len(blob) // 2])
        await writer.drain()

    registry.answers[digest] = half
    await pull(registry, tmp_path)
    assert (tmp_path / "root/file").read_bytes() == CONTENT
    asked = [request.headers.get("range") for request in registry.requests if request.path.endswith(digest)]
    assert asked[0] is None
    assert asked[1] is not None
    assert asked[1] != "bytes=0-"


async def test_a_registry_that_cannot_resume_starts_again(registry: HostileRegistry, tmp_path: Path) -> None:
    digest = registry.image.layer_digests[0]
    blob = registry.image.blobs[digest]

    async def twice(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(response(200, blob)[: None if "range" in request.headers else len(blob) // 2])
        await writer.drain()

    registry.answers[digest] = twice
    await pull(registry, tmp_path)
    assert (tmp_path / "root/file").read_bytes() == CONTENT


async def test_a_stalled_layer_is_given_up(registry: HostileRegistry, tmp_path: Path) -> None:
    async def stall(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(response(200, CONTENT)[:1000])
        await writer.drain()
        await asyncio.sleep(60)

    registry.answers[registry.image.layer_digests[0]] = stall
    error = await refused(registry, tmp_path)
    assert isinstance(error, UnavailableError)
    assert error.message.endswith("unable to retrieve image from registry (it has stopped sending)")


async def test_a_layer_that_drips_for_ever_is_given_up(registry: HostileRegistry, tmp_path: Path) -> None:
    async def drip(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(response(200, CONTENT)[:100])
        while True:
            await asyncio.sleep(0.05)
            writer.write(b"x")
            await writer.drain()

    registry.answers[registry.image.layer_digests[0]] = drip
    assert isinstance(await refused(registry, tmp_path, local_limits(stall_seconds=0.5, total_seconds=1)), DeadlineError)


async def endless(request: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + bytes(65536) + b"\r\n")
        await writer.drain()


@pytest.mark.parametrize("part", ["layer", "manifest", "config"])
async def test_an_endless_body_ends(registry: HostileRegistry, tmp_path: Path, part: str) -> None:
    config = json.loads(registry.image.manifest)["config"]["digest"]
    registry.answers[{"layer": registry.image.layer_digests[0], "manifest": "1", "config": config}[part]] = endless
    error = await refused(registry, tmp_path)
    assert isinstance(error, InvalidError)
    assert "is longer than" in error.message or "has more than" in error.message


@pytest.mark.parametrize("part", ["layer", "config"])
async def test_other_content_than_announced_is_refused(registry: HostileRegistry, tmp_path: Path, part: str) -> None:
    digest = {"layer": registry.image.layer_digests[0], "config": json.loads(registry.image.manifest)["config"]["digest"]}[part]
    lie = bytes(len(registry.image.blobs[digest]))
    registry.answers[digest] = lambda request, writer: response(200, lie)
    error = await refused(registry, tmp_path)
    assert f"the registry sent {digest_of(lie)} as {digest}" in error.message


async def test_a_layer_that_is_not_the_configurations_is_refused(tmp_path: Path) -> None:
    image = Image.of([archive(entry("file"))])
    manifest = json.loads(image.manifest)
    config = json.loads(image.blobs[manifest["config"]["digest"]])
    config["rootfs"]["diff_ids"] = ["sha256:" + "0" * 64]
    manifest["config"] = image.add(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json")
    image.manifest = json.dumps(manifest).encode()
    async with running(image) as registry:
        assert "its content is not what the image's configuration says" in (await refused(registry, tmp_path)).message


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"[]",
        b"{",
        b"[" * 100_000,
        b'{"schemaVersion": 1}',
        b'{"schemaVersion": 2}',
        b'{"schemaVersion": 2, "config": 3, "layers": []}',
        b'{"schemaVersion": 2, "config": {"digest": "../../x", "size": 1}, "layers": []}',
        b'{"schemaVersion": 2, "config": {"digest": "sha256:%b", "size": -1}, "layers": []}' % (b"0" * 64),
        b'{"manifests": [], "mediaType": "application/vnd.oci.image.index.v1+json"}',
    ],
)
async def test_nonsense_instead_of_a_manifest_is_refused(registry: HostileRegistry, tmp_path: Path, manifest: bytes) -> None:
    registry.answers["1"] = lambda request, writer: response(200, manifest)
    with pytest.raises(InvalidError):
        await pull(registry, tmp_path)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (403, "access denied to '{}': you don't have permission to pull this image"),
        (418, "failed to pull image '{}': registry returned status code 418"),
        (503, "failed to pull image '{}': registry returned status code 503"),
    ],
)
async def test_a_status_is_told_in_e2bs_words(registry: HostileRegistry, tmp_path: Path, status: int, words: str) -> None:
    registry.answers["1"] = lambda request, writer: response(status)
    assert (await refused(registry, tmp_path)).message == words.format(registry.name)


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/shadow",
        "http://169.254.169.254/latest/meta-data",
        "https://169.254.169.254/latest/meta-data",
        "http://127.0.0.1:{other}/x",
        "https://[::1]:{other}/x",
        "https://[::ffff:10.0.0.1]/x",
        "gopher://example/x",
        "https://user:password@localhost/",
        "",
        "//",
    ],
)
async def test_nobody_is_led_into_private_networks(registry: HostileRegistry, tmp_path: Path, location: str) -> None:
    async with running(registry.image) as other:
        target = location.format(other=other.port)
        registry.answers[registry.image.layer_digests[0]] = lambda request, writer: response(307, Location=target)
        limits = PullLimits(stall_seconds=0.5, attempts=2, trusted_registries=(f"http://localhost:{registry.port}",))
        error = await refused(registry, tmp_path, limits)
        assert isinstance(error, UnavailableError)
        assert other.requests == []


async def test_a_strangers_registry_leads_nobody_to_a_trusted_one(registry: HostileRegistry, tmp_path: Path) -> None:
    """Nor is anything on this machine anybody's registry unless it is named."""
    connection = Connection("x", "stranger.example", PullLimits(trusted_registries=(f"http://localhost:{registry.port}",)))
    with pytest.raises(UnavailableError, match="which is not HTTPS"):
        async with connection, connection.send(f"http://{registry.name}", {}):
            pass
    target = tmp_path / "root"
    target.mkdir()
    with pytest.raises(UnavailableError, match="SANDBANK_TEMPLATE_TRUSTED_REGISTRIES"):
        await pull_image(registry.name, credentials=None, architecture="amd64", target=target, limits=PullLimits(), progress=print)
    assert registry.requests == []


async def test_credentials_stay_with_the_registry(registry: HostileRegistry, tmp_path: Path) -> None:
    digest = registry.image.layer_digests[0]
    registry.answers["1"] = lambda request, writer: (
        response(200, registry.image.manifest)
        if "authorization" in request.headers
        else response(401, WWW_Authenticate='Basic realm="tests"')
    )
    async with running(registry.image) as other:
        elsewhere = f"http://localhost:{other.port}"
        registry.answers[digest] = lambda request, writer: response(307, Location=f"{elsewhere}/storage/{digest}")
        limits = local_limits(elsewhere, stall_seconds=0.5, attempts=2)
        await pull(registry, tmp_path, limits, GcpCredentials('{"type": "service_account"}'))
        assert any("authorization" in request.headers for request in registry.requests)
        assert [request.headers.get("authorization") for request in other.requests] == [None]


async def test_a_token_is_got_where_the_registry_says_and_again_when_it_is_too_old(registry: HostileRegistry, tmp_path: Path) -> None:
    tokens: list[str] = []

    def token(request: Request, writer: asyncio.StreamWriter) -> bytes:
        assert request.headers["authorization"] == BasicCredentials("me", "secret").header
        assert request.path == "/token?for=us&scope=repository%3Asome%2Fthing%3Apull&service=a+service"
        tokens.append(f"token{len(tokens)}")
        return response(200, json.dumps({"access_token": tokens[-1]}).encode())

    def guarded(request: Request, writer: asyncio.StreamWriter) -> bytes:
        wanted = "token0" if request.path.endswith("manifests/1") else "token1"
        if request.headers.get("authorization") != f"Bearer {wanted}":
            realm = f"http://localhost:{registry.port}/token?for=us"
            return response(401, WWW_Authenticate=f'Bearer realm="{realm}",service="a service",scope="everything"')
        last = request.path.rpartition("/")[2]
        return response(200, registry.image.manifest if last == "1" else registry.image.blobs[last])

    for name in ("1", *registry.image.blobs):
        registry.answers[name] = guarded
    registry.answers["token"] = token
    await pull(registry, tmp_path, credentials=BasicCredentials("me", "secret"))
    assert tokens == ["token0", "token1"]


@pytest.mark.parametrize("challenge", ["", "Digest x", 'Bearer realm="file:///etc/passwd"', 'Bearer realm="http://10.0.0.1/"', "Bearer"])
async def test_a_strange_challenge_is_an_error(registry: HostileRegistry, tmp_path: Path, challenge: str) -> None:
    registry.answers["1"] = lambda request, writer: response(401, WWW_Authenticate=challenge)
    assert isinstance(await refused(registry, tmp_path), DeniedError | UnavailableError)


async def test_keys_of_aws_are_shown_to_nobody_else(registry: HostileRegistry, tmp_path: Path) -> None:
    registry.answers["1"] = lambda request, writer: response(401, WWW_Authenticate="Basic")
    with pytest.raises(InvalidError, match="credentials of AWS are for registries of AWS"):
        await pull(registry, tmp_path, credentials=AwsCredentials("AKIA", "secret", "eu-west-1"))


async def test_an_image_that_says_it_is_too_large_is_not_fetched(registry: HostileRegistry, tmp_path: Path) -> None:
    error = await refused(registry, tmp_path, local_limits(total_mb=1))
    assert error.message.startswith("the uncompressed Docker image size (5 MB) exceeds the maximum filesystem size (1 MB). Please reduce")
    assert not any("blobs/" in request.path and registry.image.layer_digests[0] in request.path for request in registry.requests)


async def test_cancelling_leaves_nothing(registry: HostileRegistry, tmp_path: Path) -> None:
    reached = asyncio.Event()

    async def stall(request: Request, writer: asyncio.StreamWriter) -> None:
        reached.set()
        await asyncio.sleep(60)

    registry.answers[registry.image.layer_digests[1]] = stall
    async with asyncio.timeout(20):
        pulling = asyncio.ensure_future(pull(registry, tmp_path, local_limits()))
        await reached.wait()
        while not any((tmp_path / "root").iterdir()):
            await asyncio.sleep(0.01)
        pulling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pulling
    assert [path.name for path in tmp_path.iterdir()] == ["root"]
    assert list((tmp_path / "root").iterdir()) == []
    running_now = subprocess.run(["pgrep", "-P", str(os.getpid()), "-f", "layer_unpacker"], capture_output=True, text=True, check=False)
    assert running_now.stdout == ""
