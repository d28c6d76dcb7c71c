"""Requests made up from the API's own document, valid and not, by callers of every kind: no fault, nothing undocumented (§2)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
from e2b.api.client import models as sdk
from hypothesis import strategies
from schemathesis import checks
from schemathesis.core.result import Ok

from sandbank.domain.development import ACCESS_TOKEN, API_KEY, TEAM_ID
from tests.integration.api.conftest import LiveApi
from tests.integration.api.test_sandboxes import create

_CREDENTIALS = {"x-api-key", "authorization", "x-team-id", "x-admin-token"}
_ADMITTED = {"a team's key", "an operator", "an operator for a team", "a volume's token"}
EXAMPLES = 10
"""Requests per operation and caller whom it is meant for; any other sends one."""
CALLERS: dict[str, dict[str, str]] = {
    "a team's key": {"X-API-Key": API_KEY},
    "nobody": {},
    "an unknown key": {"X-API-Key": "e2b_" + "0" * 40},
    "a user": {"Authorization": f"Bearer {ACCESS_TOKEN}"},
    "a token of no provider": {"Authorization": "Bearer a.b.c", "X-Team-ID": TEAM_ID},
    "an operator": {"X-Admin-Token": "operator"},
    "an operator for a team": {"X-Admin-Token": "operator", "X-Team-ID": TEAM_ID},
    "a volume's token": {},
    "an operator for nobody": {"X-Admin-Token": "operator", "X-Team-ID": "x"},
}
_READ = (
    "Volume",
    "VolumeAndToken",
    "Error",
    "Sandbox",
    "ListedSandbox",
    "SandboxDetail",
    "SandboxMetric",
    "SandboxLogs",
    "SnapshotInfo",
    "SandboxesWithMetrics",
    "Template",
    "TemplateWithBuilds",
    "TemplateRequestResponseV3",
    "TemplateBuildInfo",
    "TemplateBuildLogsResponse",
    "TemplateBuildFileUpload",
    "TemplateAliasResponse",
    "TemplateUpdateResponse",
    "TemplateTag",
    "AssignedTemplateTags",
    "TemplateTagGroupsResponse",
    "TemplateTagAssignmentsResponse",
    "TemplateTagExistsResponse",
    "TemplateTagsCountResponse",
)
MODELS: dict[str, Callable[[Any], object]] = {name: getattr(sdk, name).from_dict for name in _READ} | {
    "SandboxLogsV2": sdk.SandboxLogsV2Response.from_dict
}
"""What the SDK's generated code reads of an answer, by its name in the document."""


def read_as_the_sdk_does(response: schemathesis.Response, declared: dict[str, Any]) -> None:
    """A body that the SDK's model refuses is one that crashes a client."""
    content = declared.get("content", {}).get("application/json")
    if content is None:
        return
    schema, rows = content["schema"], [response.json()]
    if schema.get("type") == "array":
        schema, rows = schema.get("items", {}), rows[0]
    model = MODELS.get(schema.get("$ref", "").rpartition("/")[2])
    if model is not None:
        for row in rows:
            model(row)


@dataclass
class Prober:
    """Calls one API as one caller."""

    url: str
    document: dict[str, Any]
    headers: dict[str, str]
    caller: str
    volumes: list[str] = field(default_factory=list)
    own: dict[str, str] = field(default_factory=lambda: {"teamID": TEAM_ID, "nodeID": "node-1"})
    session: requests.Session = field(default_factory=requests.Session)
    seen: set[tuple[str, int]] = field(default_factory=set)

    @property
    def is_for_volumes(self) -> bool:
        """Whether it may see a volume's files and nothing else."""
        return self.caller == "a volume's token"

    def _examples(self, path: str) -> int:
        if self.caller == "an operator for a team":
            return 2
        admin = path.startswith(("/nodes", "/admin"))
        return EXAMPLES if self.is_for_volumes or self.caller == ("an operator" if admin else "a team's key") else 1

    def probe_all(self) -> None:
        """Every operation of the document."""
        self.session.trust_env = False
        for result in schemathesis.openapi.from_dict(self.document).get_all_operations():
            assert isinstance(result, Ok), result
            operation = result.ok()
            if self.is_for_volumes and not operation.path.startswith("/volumecontent/"):
                continue
            if self.caller in _ADMITTED:
                self._make_own()
            self._probe(operation)

    def _make_sandbox(self) -> str:
        # An operator may have drained the node.
        self.session.post(f"{self.url}/nodes/node-1", json={"status": "ready"}, headers=CALLERS["an operator"])
        made = self.session.post(f"{self.url}/v2/sandboxes", json={"templateID": "base"}, headers={"X-API-Key": API_KEY})
        assert made.status_code == 201, made.text
        sandbox_id: str = made.json()["sandboxID"]
        return sandbox_id

    def _make_own(self) -> None:
        self.own["sandboxID"] = self._make_sandbox()
        name = f"v{len(self.volumes)}"
        self.volumes.append(name)
        made = self.session.post(f"{self.url}/volumes", json={"name": name}, headers={"X-API-Key": API_KEY})
        assert made.status_code == 201, made.text
        self.own["volumeID"] = made.json()["volumeID"]
        self._make_template()
        if self.is_for_volumes:
            self.headers = {"Authorization": f"Bearer {made.json()['token']}"}

    def _make_template(self) -> None:
        made = self.session.post(f"{self.url}/v3/templates", json={"name": "own"}, headers={"X-API-Key": API_KEY})
        assert made.status_code == 202, made.text
        self.own |= {"templateID": made.json()["templateID"], "buildID": made.json()["buildID"], "alias": "own", "hash": "a" * 64}

    def _probe(self, operation: schemathesis.APIOperation[Any, Any, Any, Any]) -> None:
        valid = operation.as_strategy(generation_mode=schemathesis.GenerationMode.POSITIVE)
        wrong = operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE)

        @hypothesis.seed(1)
        @hypothesis.settings(
            max_examples=self._examples(operation.path),
            deadline=None,
            database=None,
            phases=[hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(
            case=strategies.one_of(valid, wrong) if operation.path_parameters or operation.query or operation.body else valid,
            real=strategies.booleans(),
        )
        def send(case: schemathesis.Case[Any], real: bool) -> None:
            self._send(case, real=real)

        send()

    def _send(self, case: schemathesis.Case[Any], *, real: bool) -> None:
        parameters = case.path_parameters or {}
        for name in self.own.keys() & parameters.keys() if real else ():
            parameters[name] = self.own[name]
        if real and self.is_for_volumes:
            case.query["path"] = "/there"
            self.session.post(
                f"{self.url}/volumecontent/{self.own['volumeID']}/dir", params={"path": "/there", "force": "true"}, headers=self.headers
            )
        if real and isinstance(case.body, dict) and "templateID" in case.body:
            case.body["templateID"] = "base"
        given = {name: value for name, value in case.headers.items() if name.lower() not in _CREDENTIALS}
        case.headers.clear()
        response = case.call(base_url=self.url, headers=given | self.headers, session=self.session)
        name = f"{case.operation.method.upper()} {case.operation.path}"
        self.seen.add((name, response.status_code))
        where = f"{name}: {response.status_code} {response.text[:300]}\n{case.as_curl_command()}"
        assert response.status_code not in (500, 502, 504), where
        declared = case.operation.definition.raw["responses"].get(str(response.status_code))
        assert declared is not None, f"not in the document: {where}"
        if "$ref" in declared:
            declared = self.document["components"]["responses"][declared["$ref"].rpartition("/")[2]]
        if response.status_code >= 400 and "/volumecontent/" not in name:
            assert response.json()["code"] == response.status_code, where
        case.validate_response(response, checks=[checks.response_schema_conformance, checks.content_type_conformance])
        read_as_the_sdk_does(response, declared)


OPEN = {"GET /health", "GET /.well-known/openid-configuration", "GET /.well-known/jwks.json"}


@pytest.mark.parametrize("caller", CALLERS)
async def test_nothing_made_up_from_the_document_finds_a_fault(api: LiveApi, caller: str) -> None:
    document = json.loads((await api.client.get("/openapi.json")).text)
    await create(api, metadata={"a": "b"})
    prober = Prober(api.url, document, CALLERS[caller], caller)
    await asyncio.to_thread(prober.probe_all)
    served = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    if prober.is_for_volumes:
        served = {name for name in served if "/volumecontent/" in name}
    assert {name for name, _ in prober.seen} == served
    statuses = {status for _, status in prober.seen}
    if caller == "a team's key":
        assert {200, 201, 204, 400, 401, 404} <= statuses
    if prober.is_for_volumes:
        assert {200, 201, 204, 400, 401} <= statuses
    if caller == "nobody":
        assert {name for name, status in prober.seen if status != 401} == OPEN, "§1: authentication comes first"
    assert (await api.client.get("/health")).status_code == 200
