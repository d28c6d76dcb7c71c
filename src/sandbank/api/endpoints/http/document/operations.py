"""Every operation: who may call it, what it answers, which errors it knows (rest-api contract §26)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbank.api.endpoints.http.document import answers
from sandbank.api.endpoints.http.document import template_answers as templates

Schema = dict[str, Any]
Security = tuple[tuple[str, ...], ...]

NOBODY: Security = ()
_ADMIN_AND_TEAM = ("AdminApiKeyAuth", "AdminTeamAuth")
_MEMBER = ("AuthProviderBearerAuth", "AuthProviderTeamAuth")
TRIPLE: Security = (("ApiKeyAuth",), _MEMBER, _ADMIN_AND_TEAM)
MEMBER: Security = (_MEMBER,)
MANAGER: Security = (_MEMBER, _ADMIN_AND_TEAM)
USER: Security = (("AccessTokenAuth",), ("AuthProviderBearerAuth",))
TEAM_OR_USER: Security = (("AccessTokenAuth",), *TRIPLE)
IMAGE: Security = (("AccessTokenAuth",), _MEMBER)
IDENTIFIED: Security = (("AuthProviderBearerAuth",),)
OPERATOR: Security = (("AdminApiKeyAuth",),)
VOLUME: Security = (("VolumeTokenAuth",),)

EMPTY: Schema = {}


def one(model: type[answers.Answer]) -> Schema:
    """That object."""
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def many(model: type[answers.Answer]) -> Schema:
    """A list of those."""
    return {"type": "array", "items": one(model)}


@dataclass(frozen=True, slots=True)
class Operation:
    """`answers` by status; `errors` beyond those that every operation of its kind has. `parameters` says more of a parameter's schema.

    `read` and `body` are parameters and a body that an endpoint reads by itself.
    """

    security: Security
    answers: Mapping[int, Schema]
    errors: tuple[int, ...] = ()
    headers: tuple[str, ...] = ()
    parameters: Mapping[str, Schema] = field(default_factory=dict)
    read: tuple[Schema, ...] = ()
    body: Schema | None = None


# What a route that is missing below is described as: enough to be called, and the tests fail.
UNDECLARED = Operation(TRIPLE, {200: EMPTY})

_TIME = {"format": "date-time"}
_UUID = {"format": "uuid"}
_STATES = {"type": "array", "items": {"enum": ["running", "paused"], "type": "string"}}
_KEY = {"type": "string", "pattern": "^[a-z0-9-]{1,255}$"}
_IDS = {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 100, "uniqueItems": True}
_PATH = {"name": "path", "in": "query", "required": True, "schema": {"type": "string"}}
_DEPTH = {"name": "depth", "in": "query", "schema": {"type": "integer", "minimum": 0, "maximum": 2**32 - 1, "default": 1}}
_FORCE = {"name": "force", "in": "query", "schema": {"type": "boolean", "default": False}}
_OWNERSHIP = tuple(
    {"name": name, "in": "query", "schema": {"type": "integer", "minimum": 0, "maximum": 2**32 - 1}} for name in ("uid", "gid", "mode")
)
_CHANGE = {"required": True, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/VolumeEntryChange"}}}}
_CONTENT = {"required": True, "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
_BYTES: Schema = {"type": "string", "format": "binary"}
_ENTRY = one(answers.VolumeEntryStat)
_DETAIL = {200: one(answers.SandboxDetail)}
_CREATED = {201: one(answers.Sandbox)}

OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("GET", "/health"): Operation(NOBODY, {200: {"type": "string", "const": "Health check successful"}}),
    ("GET", "/teams"): Operation(USER, {200: many(answers.Team)}),
    ("POST", "/sandboxes"): Operation(TRIPLE, _CREATED, (403, 404, 409)),
    ("POST", "/v2/sandboxes"): Operation(
        TRIPLE, _CREATED, (403, 404, 409, 422), read=({"name": "Idempotency-Key", "in": "header", "schema": _KEY},)
    ),
    ("GET", "/sandboxes"): Operation(TRIPLE, {200: many(answers.ListedSandbox)}),
    ("GET", "/v2/sandboxes"): Operation(
        TRIPLE,
        {200: many(answers.ListedSandbox)},
        headers=("X-Next-Token", "X-Total-Running"),
        parameters={"startedAfter": _TIME, "state": _STATES},
    ),
    ("GET", "/sandboxes/{sandboxID}"): Operation(TRIPLE, _DETAIL),
    ("DELETE", "/sandboxes/{sandboxID}"): Operation(TRIPLE, {204: EMPTY}, (409,)),
    ("POST", "/sandboxes/{sandboxID}/connect"): Operation(TRIPLE, {200: one(answers.Sandbox), 201: one(answers.Sandbox)}, (409,)),
    ("POST", "/v2/sandboxes/{sandboxID}/connect"): Operation(TRIPLE, {200: one(answers.Sandbox), 201: one(answers.Sandbox)}, (409,)),
    ("POST", "/sandboxes/{sandboxID}/timeout"): Operation(TRIPLE, {204: EMPTY}, (409,)),
    ("POST", "/sandboxes/{sandboxID}/refreshes"): Operation(TRIPLE, {204: EMPTY}, (409,)),
    ("PUT", "/sandboxes/{sandboxID}/network"): Operation(TRIPLE, {204: EMPTY}, (409,)),
    ("POST", "/sandboxes/{sandboxID}/pause"): Operation(TRIPLE, {204: EMPTY}, (409,)),
    ("POST", "/sandboxes/{sandboxID}/resume"): Operation(TRIPLE, _CREATED, (409,)),
    ("POST", "/sandboxes/{sandboxID}/snapshots"): Operation(TRIPLE, {201: one(answers.SnapshotInfo)}, (409,)),
    ("POST", "/sandboxes/{sandboxID}/fork"): Operation(TRIPLE, {201: many(answers.SandboxForkResult)}, (409,)),
    ("GET", "/snapshots"): Operation(TRIPLE, {200: many(answers.SnapshotInfo)}, headers=("X-Next-Token",)),
    ("POST", "/v3/templates"): Operation(TRIPLE, {202: one(templates.TemplateRequestResponseV3)}, (409,)),
    ("POST", "/v2/templates"): Operation(TRIPLE, {202: one(templates.TemplateLegacy)}, (409,)),
    ("POST", "/templates"): Operation(IMAGE, {202: one(templates.Template)}, (409,)),
    ("POST", "/templates/{templateID}"): Operation(IMAGE, {202: one(templates.Template)}, (409,)),
    ("POST", "/templates/{templateID}/builds/{buildID}"): Operation(IMAGE, {202: EMPTY}),
    ("POST", "/v2/templates/{templateID}/builds/{buildID}"): Operation(TRIPLE, {202: EMPTY}),
    ("GET", "/templates/{templateID}/files/{hash}"): Operation(TEAM_OR_USER, {201: one(templates.TemplateBuildFileUpload)}),
    ("GET", "/templates/{templateID}/builds/{buildID}/status"): Operation(TEAM_OR_USER, {200: one(templates.TemplateBuildInfo)}),
    ("GET", "/templates/{templateID}/builds/{buildID}/logs"): Operation(TEAM_OR_USER, {200: one(templates.TemplateBuildLogsResponse)}),
    ("GET", "/templates"): Operation(TEAM_OR_USER, {200: many(templates.Template)}),
    ("GET", "/v2/templates"): Operation(TEAM_OR_USER, {200: many(templates.Template)}, headers=("X-Next-Token",)),
    ("GET", "/default-templates"): Operation(TEAM_OR_USER, {200: many(templates.Template)}),
    ("GET", "/templates/{templateID}"): Operation(TRIPLE, {200: one(templates.TemplateWithBuilds)}, headers=("X-Next-Token",)),
    ("PATCH", "/templates/{templateID}"): Operation(TEAM_OR_USER, {200: {"type": "null"}}, (409,)),
    ("PATCH", "/v2/templates/{templateID}"): Operation(TEAM_OR_USER, {200: one(templates.TemplateUpdateResponse)}),
    ("DELETE", "/templates/{templateID}"): Operation(TEAM_OR_USER, {204: EMPTY}),
    ("POST", "/templates/tags"): Operation(TRIPLE, {201: one(templates.AssignedTemplateTags)}),
    ("DELETE", "/templates/tags"): Operation(TRIPLE, {204: EMPTY}),
    ("GET", "/templates/{templateID}/tags"): Operation(TRIPLE, {200: many(templates.TemplateTag)}),
    ("GET", "/templates/{templateID}/tags/count"): Operation(TRIPLE, {200: one(templates.TemplateTagsCountResponse)}),
    ("GET", "/templates/{templateID}/tags/exists"): Operation(TRIPLE, {200: one(templates.TemplateTagExistsResponse)}),
    ("GET", "/templates/{templateID}/tags/groups"): Operation(TRIPLE, {200: one(templates.TemplateTagGroupsResponse)}),
    ("GET", "/templates/{templateID}/tags/{tag}/assignments"): Operation(TRIPLE, {200: one(templates.TemplateTagAssignmentsResponse)}),
    ("GET", "/templates/aliases/{alias}"): Operation(TRIPLE, {200: one(templates.TemplateAliasResponse)}),
    ("GET", "/sandboxes/metrics"): Operation(TRIPLE, {200: one(answers.SandboxesWithMetrics)}, parameters={"sandbox_ids": _IDS}),
    ("GET", "/sandboxes/{sandboxID}/metrics"): Operation(TRIPLE, {200: many(answers.SandboxMetric)}),
    ("GET", "/teams/{teamID}/metrics"): Operation(TRIPLE, {200: many(answers.TeamMetric)}),
    ("GET", "/teams/{teamID}/metrics/max"): Operation(TRIPLE, {200: one(answers.MaxTeamMetric)}),
    ("GET", "/sandboxes/{sandboxID}/logs"): Operation(TRIPLE, {200: one(answers.SandboxLogs)}),
    ("GET", "/v2/sandboxes/{sandboxID}/logs"): Operation(TRIPLE, {200: one(answers.SandboxLogsV2)}),
    ("GET", "/volumes"): Operation(TRIPLE, {200: many(answers.Volume)}),
    ("POST", "/volumes"): Operation(TRIPLE, {201: one(answers.VolumeAndToken)}, (501,)),
    ("GET", "/volumes/{volumeID}"): Operation(TRIPLE, {200: one(answers.VolumeAndToken)}, (501,)),
    ("DELETE", "/volumes/{volumeID}"): Operation(TRIPLE, {204: EMPTY}, (409,)),
    ("GET", "/secrets"): Operation(TRIPLE, {200: many(answers.Secret)}, (502, 504), headers=("X-Next-Token",)),
    ("POST", "/secrets"): Operation(TRIPLE, {201: one(answers.Secret)}, (409, 413, 502, 504)),
    ("GET", "/secrets/{secretID}"): Operation(TRIPLE, {200: one(answers.Secret)}, (502, 504)),
    ("POST", "/secrets/{secretID}"): Operation(TRIPLE, {200: one(answers.Secret)}, (409, 413, 502, 504)),
    ("DELETE", "/secrets/{secretID}"): Operation(TRIPLE, {204: EMPTY}, (409, 502, 504)),
    ("GET", "/.well-known/openid-configuration"): Operation(NOBODY, {200: one(answers.IdentityDiscovery)}),
    ("GET", "/.well-known/jwks.json"): Operation(NOBODY, {200: one(answers.IdentityKeys)}),
    ("GET", "/volumecontent/{volumeID}/path"): Operation(VOLUME, {200: _ENTRY}, read=(_PATH,)),
    ("PATCH", "/volumecontent/{volumeID}/path"): Operation(VOLUME, {200: _ENTRY}, read=(_PATH,), body=_CHANGE),
    ("DELETE", "/volumecontent/{volumeID}/path"): Operation(VOLUME, {204: EMPTY}, read=(_PATH,)),
    ("GET", "/volumecontent/{volumeID}/dir"): Operation(VOLUME, {200: many(answers.VolumeEntryStat)}, read=(_PATH, _DEPTH)),
    ("POST", "/volumecontent/{volumeID}/dir"): Operation(VOLUME, {201: _ENTRY}, read=(_PATH, *_OWNERSHIP, _FORCE)),
    ("GET", "/volumecontent/{volumeID}/file"): Operation(VOLUME, {200: _BYTES}, read=(_PATH,)),
    ("PUT", "/volumecontent/{volumeID}/file"): Operation(VOLUME, {201: _ENTRY}, read=(_PATH, *_OWNERSHIP, _FORCE), body=_CONTENT),
    ("GET", "/api-keys"): Operation(MANAGER, {200: many(answers.TeamAPIKey)}),
    ("POST", "/api-keys"): Operation(MEMBER, {201: one(answers.CreatedTeamAPIKey)}),
    ("PATCH", "/api-keys/{keyID}"): Operation(MANAGER, {202: EMPTY}),
    ("DELETE", "/api-keys/{keyID}"): Operation(MANAGER, {204: EMPTY}),
    ("POST", "/access-tokens"): Operation(IDENTIFIED, {201: one(answers.CreatedAccessToken)}, (410,)),
    ("DELETE", "/access-tokens/{tokenID}"): Operation(IDENTIFIED, {204: EMPTY}),
    ("GET", "/nodes"): Operation(OPERATOR, {200: many(answers.Node)}, parameters={"clusterID": _UUID}),
    ("GET", "/nodes/{nodeID}"): Operation(OPERATOR, {200: one(answers.NodeDetail)}, parameters={"clusterID": _UUID}),
    ("POST", "/nodes/{nodeID}"): Operation(OPERATOR, {204: EMPTY}, (409,)),
    ("POST", "/admin/teams/{teamID}/sandboxes/kill"): Operation(OPERATOR, {200: one(answers.AdminSandboxKillResult)}),
    ("POST", "/admin/teams/{teamID}/builds/cancel"): Operation(OPERATOR, {200: one(answers.AdminBuildCancelResult)}),
    ("GET", "/admin/sandboxes/running-counts"): Operation(
        OPERATOR, {200: {"type": "object", "additionalProperties": {"type": "integer", "minimum": 1}}}
    ),
    ("POST", "/admin/teams/{teamID}/api-keys"): Operation(OPERATOR, {201: one(answers.CreatedTeamAPIKey)}),
    ("DELETE", "/admin/teams/{teamID}/api-keys/{keyID}"): Operation(OPERATOR, {204: EMPTY}),
}
