"""Real clients push and pull images through the proxy (contract templates-and-data §1.1)."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.integration.docker_reverse_proxy.oci_layout import INDEX, MANIFEST, Layout
from tests.integration.docker_reverse_proxy.platform import (
    BUILD,
    BUILT_TEMPLATE,
    DELETED_TEMPLATE,
    OTHER_TEMPLATE,
    OTHER_TOKEN,
    TEMPLATE,
    TOKEN,
    Platform,
    set_status,
)
from tests.integration.docker_reverse_proxy.programs import Docker, skopeo

ACCEPT = f"{MANIFEST}, application/vnd.docker.distribution.manifest.v2+json"


def _copy(layout: Layout, tag: str, image: str, token: str = TOKEN, *more: str) -> list[str]:
    credentials = f"_e2b_access_token:{token}"
    return ["copy", *more, "--dest-tls-verify=false", "--dest-creds", credentials, f"oci:{layout.directory}:{tag}", f"docker://{image}"]


async def test_skopeo_pushes_an_image_that_the_builder_finds_under_template_and_build(served: Platform, layout: Layout) -> None:
    """§1.1.2: `/v2/e2b/custom-envs/` becomes the upstream's prefix."""
    done = await asyncio.to_thread(skopeo, *_copy(layout, "small", served.image()))
    assert done.returncode == 0, done.stdout

    async with served.upstream() as upstream:
        answer = await upstream.get(f"/v2/{served.prefix}{TEMPLATE}/manifests/{BUILD}", headers={"Accept": ACCEPT})
        assert answer.status_code == 200
        for layer in answer.json()["layers"]:
            content = await upstream.get(f"/v2/{served.prefix}{TEMPLATE}/blobs/{layer['digest']}")
            assert len(content.content) == layer["size"]


async def test_skopeo_pulls_what_it_pushed(served: Platform, layout: Layout) -> None:
    """§1.1.2: both ways are one repository's."""
    await asyncio.to_thread(skopeo, *_copy(layout, "small", served.image()))
    arguments = ["inspect", "--raw", "--tls-verify=false", "--creds", f"_e2b_access_token:{TOKEN}", f"docker://{served.image()}"]
    done = await asyncio.to_thread(skopeo, *arguments)
    assert done.returncode == 0, done.stdout
    assert len(json.loads(done.stdout)["layers"]) == 2


async def test_an_image_for_several_platforms_is_taken(served: Platform, layout: Layout) -> None:
    """An index, and the images it names."""
    done = await asyncio.to_thread(skopeo, *_copy(layout, "many", served.image(), TOKEN, "--all"))
    assert done.returncode == 0, done.stdout
    async with served.upstream() as upstream:
        answer = await upstream.get(f"/v2/{served.prefix}{TEMPLATE}/manifests/{BUILD}", headers={"Accept": INDEX})
    assert answer.headers["content-type"] == INDEX
    assert [image["platform"]["architecture"] for image in answer.json()["manifests"]] == ["amd64", "arm64"]


@pytest.mark.parametrize(
    ("template_id", "token"),
    [(TEMPLATE, OTHER_TOKEN), (OTHER_TEMPLATE, TOKEN), (BUILT_TEMPLATE, TOKEN), (DELETED_TEMPLATE, TOKEN), ("none", TOKEN)],
    ids=["another user", "another team's template", "nothing waits", "deleted", "no such template"],
)
async def test_skopeo_is_refused_what_is_not_its_users(own_store: Platform, layout: Layout, template_id: str, token: str) -> None:
    """§1.1.2: active template, membership, a build that is pending."""
    done = await asyncio.to_thread(skopeo, *_copy(layout, "small", own_store.image(template_id), token))
    assert done.returncode != 0
    assert "403" in done.stdout or "denied" in done.stdout, done.stdout
    assert not list((own_store.settings.data_dir / "registry" / "repositories").iterdir())


async def test_docker_logs_in_and_pushes(served: Platform, private_docker: Docker) -> None:
    """§1.1.1 step 5 and 6: `docker login` by hand, then `docker push`; the second push has nothing to upload."""
    login = ["login", served.address, "-u", "_e2b_access_token", "--password-stdin"]
    wrong = await asyncio.to_thread(private_docker, *login, stdin=b"sk_e2b_" + b"ff" * 20)
    assert wrong.returncode != 0
    assert "invalid access token" in wrong.stdout
    done = await asyncio.to_thread(private_docker, *login, stdin=TOKEN.encode())
    assert done.returncode == 0, done.stdout

    await asyncio.to_thread(private_docker, "tag", "test:local", served.image())
    pushed = await asyncio.to_thread(private_docker, "push", served.image())
    assert pushed.returncode == 0, pushed.stdout
    again = await asyncio.to_thread(private_docker, "push", served.image())
    assert "Layer already exists" in again.stdout

    async with served.upstream() as upstream:
        answer = await upstream.get(f"/v2/{served.prefix}{TEMPLATE}/manifests/{BUILD}", headers={"Accept": ACCEPT})
    assert answer.status_code == 200


async def test_docker_is_refused_once_the_build_has_begun(own_store: Platform, private_docker: Docker) -> None:
    """§1.1.2: pushes are allowed only between "request build" and "trigger build"."""
    login = ["login", own_store.address, "-u", "_e2b_access_token", "--password-stdin"]
    assert (await asyncio.to_thread(private_docker, *login, stdin=TOKEN.encode())).returncode == 0
    await set_status(own_store.database.sessions, BUILD, "building")
    await asyncio.to_thread(private_docker, "tag", "test:local", own_store.image())
    done = await asyncio.to_thread(private_docker, "push", own_store.image())
    assert done.returncode != 0
    assert "403" in done.stdout or "denied" in done.stdout, done.stdout
