"""What clients send about templates (templates contract §13). Unknown fields are ignored, in steps as anywhere."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sandbank.api.endpoints.http.models import Body

Name = Annotated[str, Field(max_length=128)]
Tag = Annotated[str, Field(max_length=128)]
Tags = Annotated[list[Tag], Field(max_length=100)]
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
MemoryMb = Annotated[int, Field(ge=128, le=2**31 - 1)]
FreeDiskMb = Annotated[int, Field(ge=0, le=2**31 - 1)]


class _Sizes(Body):
    cpu_count: Count | None = Field(None, alias="cpuCount")
    memory_mb: MemoryMb | None = Field(None, alias="memoryMB")


class TemplateBuildRequestV3(_Sizes):
    """`POST /v3/templates`."""

    name: Name | None = None
    alias: Name | None = None
    tags: Tags | None = None
    team_id: str | None = Field(None, alias="teamID")
    min_free_disk_mb: FreeDiskMb | None = Field(None, alias="minFreeDiskMb")


class TemplateBuildRequestV2(_Sizes):
    """`POST /v2/templates`."""

    alias: Name
    team_id: str | None = Field(None, alias="teamID")


class TemplateBuildRequest(_Sizes):
    """`POST /templates` and `POST /templates/{id}`: an image will be pushed."""

    dockerfile: str
    alias: Name | None = None
    team_id: str | None = Field(None, alias="teamID")
    start_cmd: str | None = Field(None, alias="startCmd")
    ready_cmd: str | None = Field(None, alias="readyCmd")


class AWSRegistry(Body):
    """Keys to an ECR registry."""

    type: Literal["aws"]
    aws_access_key_id: str = Field(alias="awsAccessKeyId", repr=False)
    aws_secret_access_key: str = Field(alias="awsSecretAccessKey", repr=False)
    aws_region: str = Field(alias="awsRegion")


class GCPRegistry(Body):
    """A key to a registry of Google's."""

    type: Literal["gcp"]
    service_account_json: str = Field(alias="serviceAccountJson", repr=False)


class GeneralRegistry(Body):
    """A user of any registry."""

    type: Literal["registry"]
    username: str
    password: str = Field(repr=False)


FromImageRegistry = Annotated[AWSRegistry | GCPRegistry | GeneralRegistry, Field(discriminator="type")]


class TemplateStep(Body):
    """One instruction."""

    type: str
    args: list[str] | None = None
    files_hash: str | None = Field(None, alias="filesHash")
    force: bool | None = None


class TemplateBuildStartV2(Body):
    """`POST /v2/templates/{id}/builds/{build}`."""

    from_image: str | None = Field(None, alias="fromImage")
    from_template: str | None = Field(None, alias="fromTemplate")
    from_image_registry: FromImageRegistry | None = Field(None, alias="fromImageRegistry")
    force: bool | None = None
    steps: list[TemplateStep] | None = None
    start_cmd: str | None = Field(None, alias="startCmd")
    ready_cmd: str | None = Field(None, alias="readyCmd")


class TemplateUpdateRequest(Body):
    """`PATCH /templates/{id}` and its second version."""

    public: bool | None = None


class AssignTemplateTagsRequest(Body):
    """`POST /templates/tags`."""

    target: str
    tags: Tags


class DeleteTemplateTagsRequest(Body):
    """`DELETE /templates/tags`."""

    name: str
    tags: Tags
