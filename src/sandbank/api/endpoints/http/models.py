"""What clients send. Names are the wire's; types are strict as JSON has them; unknown fields are ignored."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[int, Field(ge=0, le=2**31 - 1)]


class Body(BaseModel):
    """What all have in common."""

    model_config = ConfigDict(strict=True, extra="ignore", populate_by_name=True)


class AutoResume(Body):
    """Whether traffic wakes a paused sandbox."""

    enabled: bool


class ProxyTls(Body):
    """TLS to an egress proxy."""

    enabled: bool
    server_name: str | None = Field(None, alias="serverName")
    ca_cert: str | None = Field(None, alias="caCert")


class EgressProxy(Body):
    """A SOCKS5 proxy."""

    address: str
    username: str | None = None
    password: str | None = None
    tls: ProxyTls | None = None


class Transform(Body):
    """Headers to set."""

    headers: dict[str, str] | None = None


class NetworkRule(Body):
    """What happens to requests to a domain."""

    transform: Transform | None = None


class Egress(Body):
    """The way out, as far as types go; the rules are the core's."""

    allow_out: list[str] | None = Field(None, alias="allowOut")
    deny_out: list[str] | None = Field(None, alias="denyOut")
    rules: dict[str, list[NetworkRule]] | None = None
    egress_proxy: EgressProxy | None = Field(None, alias="egressProxy")
    dns_servers: list[str] | None = Field(None, alias="dnsServers")


class Network(Egress):
    """All network options of a create."""

    allow_public_traffic: bool | None = Field(None, alias="allowPublicTraffic")
    mask_request_host: str | None = Field(None, alias="maskRequestHost")
    https_ports: list[int] | None = Field(None, alias="httpsPorts")


class NetworkUpdate(Egress):
    """`PUT /sandboxes/{id}/network`."""

    allow_internet_access: bool | None = None


class VolumeMount(Body):
    """A volume and where to mount it."""

    name: str
    path: str


class IamToken(Body):
    """What a workload token is for."""

    token_type: str = Field("", alias="tokenType")
    audience: str = ""


class Iam(Body):
    """Workload tokens, by name."""

    tokens: dict[str, IamToken] | None = None


class _Create(Body):
    template_id: str = Field(alias="templateID")
    timeout: Seconds | None = None
    metadata: dict[str, str] | None = None
    env_vars: dict[str, str] | None = Field(None, alias="envVars")
    allow_internet_access: bool | None = None
    auto_pause: bool | None = Field(None, alias="autoPause")
    auto_pause_memory: bool | None = Field(None, alias="autoPauseMemory")
    auto_resume: AutoResume | None = Field(None, alias="autoResume")
    network: Network | None = None
    volume_mounts: list[VolumeMount] | None = Field(None, alias="volumeMounts")
    iam: Iam | None = None


class CreateV1(_Create):
    """`POST /sandboxes`."""

    secure: bool | None = None


class CreateV2(_Create):
    """`POST /v2/sandboxes`: always secure."""


class ConnectV1(Body):
    """`POST /sandboxes/{id}/connect`."""

    timeout: Seconds
    memory: bool | None = None


class ConnectV2(Body):
    """`POST /v2/sandboxes/{id}/connect`; the body may be absent."""

    timeout: Seconds | None = None
    memory: bool | None = None


class Pause(Body):
    """`POST /sandboxes/{id}/pause`; the body may be absent."""

    memory: bool | None = None


class Fork(Body):
    """`POST /sandboxes/{id}/fork`; the body may be absent."""

    timeout: Seconds | None = None
    count: int = Field(1, ge=1, le=100)


class NewSnapshot(Body):
    """`POST /sandboxes/{id}/snapshots`."""

    name: str | None = None
    memory: bool | None = None


class Resume(Body):
    """`POST /sandboxes/{id}/resume`; the body may be absent."""

    timeout: Seconds | None = None
    auto_pause: bool | None = Field(None, alias="autoPause")
    memory: bool | None = None


class Timeout(Body):
    """`POST /sandboxes/{id}/timeout`."""

    timeout: Seconds


class Named(Body):
    """What makes or renames an API key or access token."""

    name: str


class NewVolume(Body):
    """`POST /volumes`."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]+$", max_length=250)]


class NewSecret(Body):
    """`POST /secrets`."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]+$", min_length=1, max_length=128)]
    value: str = Field(repr=False)
    metadata: dict[str, str] | None = None


class SecretUpdate(Body):
    """`POST /secrets/{id}`."""

    value: str = Field(repr=False)
    metadata: dict[str, str] | None = None


OwnerNumber = Annotated[int, Field(ge=0, le=2**32 - 1)]


class VolumeEntryChange(Body):
    """`PATCH /volumecontent/{id}/path`."""

    uid: OwnerNumber | None = None
    gid: OwnerNumber | None = None
    mode: OwnerNumber | None = None


class NodeStatusChange(Body):
    """`POST /nodes/{id}`."""

    status: Literal["ready", "draining", "connecting", "unhealthy", "standby"]
    cluster_id: str | None = Field(None, alias="clusterID")


class Refresh(Body):
    """`POST /sandboxes/{id}/refreshes`."""

    duration: Annotated[int, Field(ge=0, le=3600)] | None = None


REQUEST_BODIES: dict[str, type[BaseModel]] = {}
"""Whatever some endpoint reads, by the name it has in the OpenAPI document."""


def request_body(model: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """The OpenAPI description of a body that an endpoint reads by itself."""
    REQUEST_BODIES[model.__name__] = model
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}
