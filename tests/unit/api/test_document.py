"""The OpenAPI document against the contract's own lists (rest-api contract §2, §8, §26; sdk-latest contract §1.3)."""

from __future__ import annotations

from typing import Any

import pytest

from sandbank.api.endpoints.http.application import build_api
from sandbank.api.endpoints.http.document.build import build
from sandbank.api.endpoints.http.document.operations import OPERATIONS
from tests.unit.api.contract_fields import ANSWERS, BODIES, SUCCESSES

FOR_USERS_TOO = {
    "GET /templates",
    "GET /v2/templates",
    "GET /default-templates",
    "DELETE /templates/{templateID}",
    "PATCH /templates/{templateID}",
    "PATCH /v2/templates/{templateID}",
    "GET /templates/{templateID}/files/{hash}",
    "GET /templates/{templateID}/builds/{buildID}/status",
    "GET /templates/{templateID}/builds/{buildID}/logs",
}
"""§0.5 of the templates contract: access tokens, besides."""


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return build(build_api())


def kind(schema: dict[str, Any]) -> str:
    """`string`, `string?` if it may be null, or the name of an object."""
    parts = [part for part in schema.get("anyOf", [schema]) if part.get("type") != "null"]
    assert len(parts) == 1, schema
    reference = parts[0].get("$ref")
    name: str = parts[0]["type"] if reference is None else reference.rpartition("/")[2]
    return name + ("?" if len(schema.get("anyOf", ())) == 2 else "")


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {f"{method.upper()} {path}": operation for path, methods in document["paths"].items() for method, operation in methods.items()}


@pytest.mark.parametrize("name", sorted(ANSWERS))
def test_what_clients_get_has_the_contracts_fields(document: dict[str, Any], name: str) -> None:
    schema = document["components"]["schemas"][name]
    assert {field: kind(part) for field, part in schema["properties"].items()} == {field: of for field, (of, _) in ANSWERS[name].items()}
    missing = {field for field, (_, required) in ANSWERS[name].items() if required} - set(schema["required"])
    assert not missing, "clients crash without these"


@pytest.mark.parametrize("name", sorted(BODIES))
def test_what_clients_send_has_the_contracts_fields(document: dict[str, Any], name: str) -> None:
    schema = document["components"]["schemas"][name]
    found = {field: (kind(part), field in schema.get("required", ())) for field, part in schema["properties"].items()}
    assert {field: found.get(field) for field in BODIES[name]} == BODIES[name]
    assert schema.get("additionalProperties", True) is True, "§1: unknown fields are ignored"


def test_every_route_is_declared_and_succeeds_as_the_contract_says(document: dict[str, Any]) -> None:
    served = operations(document)
    assert set(served) == {f"{method} {path}" for method, path in OPERATIONS}
    successes = {name: " ".join(status for status in operation["responses"] if status < "400") for name, operation in served.items()}
    assert successes == {name: SUCCESSES[name] for name in successes}


def test_every_error_is_json_with_code_and_message(document: dict[str, Any]) -> None:
    """§2, and sdk-latest §1.3: 429 is declared on every operation."""
    for name, operation in operations(document).items():
        if not operation["security"]:  # open to everybody, and without anything that could be wrong
            continue
        of = "VolumeContentError" if "/volumecontent/" in name else "Error"
        errors = {status: response for status, response in operation["responses"].items() if status >= "400"}
        assert {"400", "401", "403", "500", "503"} | ({"429"} if of == "Error" else set()) <= set(errors), name
        assert all(response == {"$ref": f"#/components/responses/{of}{status}"} for status, response in errors.items())
    for name, response in document["components"]["responses"].items():
        assert response["content"] == {"application/json": {"schema": {"$ref": f"#/components/schemas/{name[:-3]}"}}}


def test_statuses_that_the_clients_models_know(document: dict[str, Any]) -> None:
    """sdk-latest §1.3."""
    served = operations(document)
    for name, statuses in {
        "POST /v2/sandboxes": "201 400 401 403 404 409 422 429 500 503 504",
        "POST /v2/sandboxes/{sandboxID}/connect": "200 201 400 401 404 409 429 500 503 504",
        "DELETE /sandboxes/{sandboxID}": "204 401 404 409 429 500",
        "POST /sandboxes/{sandboxID}/pause": "204 401 404 409 429 500 503",
        "POST /sandboxes/{sandboxID}/snapshots": "201 400 401 404 429 500 503",
        "POST /sandboxes/{sandboxID}/fork": "201 401 404 409 429 500 503",
    }.items():
        assert set(statuses.split()) <= set(served[name]["responses"]), name


def test_who_may_call_what(document: dict[str, Any]) -> None:
    """§3.1, §26."""
    triple: list[dict[str, list[str]]] = [
        {"ApiKeyAuth": []},
        {"AuthProviderBearerAuth": [], "AuthProviderTeamAuth": []},
        {"AdminApiKeyAuth": [], "AdminTeamAuth": []},
    ]
    for name, operation in operations(document).items():
        if name == "GET /health":
            assert operation["security"] == []
        elif "/nodes" in name or "/admin" in name:
            assert operation["security"] == [{"AdminApiKeyAuth": []}], name
        elif "/sandboxes" in name or name.startswith(("GET /snapshots", "GET /teams/")):
            assert operation["security"] == triple, name
        elif name in ("POST /templates", "POST /templates/{templateID}", "POST /templates/{templateID}/builds/{buildID}"):
            assert operation["security"] == [{"AccessTokenAuth": []}, triple[1]], name
        elif "template" in name:
            also: list[dict[str, list[str]]] = [{"AccessTokenAuth": []}] if name in FOR_USERS_TOO else []
            assert operation["security"] == [*also, *triple], name
    assert set(document["components"]["securitySchemes"]) == {scheme for one in triple for scheme in one} | {
        "AccessTokenAuth",
        "VolumeTokenAuth",
    }


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def walk(part: Any) -> None:
        if isinstance(part, dict):
            reference = part.get("$ref")
            if isinstance(reference, str):
                _, components, section, name = reference.split("/")
                assert components == "components"
                assert name in document["components"][section], reference
            for value in part.values():
                walk(value)
        elif isinstance(part, list):
            for value in part:
                walk(value)

    walk(document)


def test_fixed_segments_win_over_parameters() -> None:
    """§26: `/sandboxes/metrics` is no sandbox."""
    paths = list(build(build_api())["paths"])
    assert max(paths.index("/templates/tags"), paths.index("/templates/aliases/{alias}")) < paths.index("/templates/{templateID}")
    assert paths.index("/sandboxes/metrics") < paths.index("/sandboxes/{sandboxID}")
