"""Making the document from the routes, the table of operations and the models of both directions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from sandbank.api.endpoints.http import models
from sandbank.api.endpoints.http.document import answers, template_answers
from sandbank.api.endpoints.http.document.operations import EMPTY, NOBODY, OPERATIONS, UNDECLARED, VOLUME, Operation

Document = dict[str, Any]

_REF = "#/components/schemas/{model}"
_WORDS = {
    200: "Done.",
    201: "Made.",
    202: "Taken.",
    204: "Done.",
    400: "The request is wrong.",
    401: "Nobody known sent this.",
    403: "The caller may not do this.",
    404: "There is no such thing, or not for this caller.",
    409: "The thing is in a state that does not allow this.",
    410: "Not given any more.",
    413: "The body is too large.",
    422: "The key was used for another request.",
    429: "A limit is reached.",
    500: "Our own fault.",
    501: "This installation cannot do this.",
    502: "What is behind us failed.",
    503: "It cannot be served at this moment.",
    504: "It took too long.",
    507: "There is no room for it.",
}
_SECURITY_SCHEMES = {
    "ApiKeyAuth": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "AccessTokenAuth": {"type": "http", "scheme": "bearer", "description": "An access token, `sk_e2b_…`."},
    "AuthProviderBearerAuth": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    "AuthProviderTeamAuth": {"type": "apiKey", "in": "header", "name": "X-Team-ID"},
    "AdminApiKeyAuth": {"type": "apiKey", "in": "header", "name": "X-Admin-Token"},
    "VolumeTokenAuth": {"type": "http", "scheme": "bearer", "description": "The token of a volume."},
    "AdminTeamAuth": {"type": "apiKey", "in": "header", "name": "X-Team-ID"},
}
_KIND_OF_TEXT = {None: "text/plain", "binary": "application/octet-stream"}
_HEADERS = {
    "X-Next-Token": "Where the next page begins; absent on the last one.",
    "X-Total-Running": "How many running sandboxes match, on all pages.",
    "Retry-After": "Seconds to wait before sending it again.",
    "Should-Retry": "`true` or `false`: whether a client may send it again by itself, whatever the status.",
    "RateLimit-Limit": "Requests that may come at once.",
    "RateLimit-Remaining": "How many of those are left.",
    "RateLimit-Reset": "Seconds until all are left again.",
}
_PARAMETER = re.compile(r"\{([a-z_]+)\}")


def install(app: FastAPI) -> None:
    """Let the application serve this document at `/openapi.json`; it is made when first asked for."""

    def openapi() -> Document:
        if app.openapi_schema is None:
            app.openapi_schema = build(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way of replacing it


def build(app: FastAPI) -> Document:
    """The document."""
    document: Document = get_openapi(title=app.title, version=app.version, routes=app.routes)
    paths: Document = {}
    for path, methods in document["paths"].items():
        described = paths.setdefault(_PARAMETER.sub(lambda match: "{" + _wire_name(match[1]) + "}", path), {})
        for method, operation in methods.items():
            described[method] = operation
    for path, methods in paths.items():
        for method, operation in methods.items():
            _complete(operation, OPERATIONS.get((method.upper(), path), UNDECLARED), "{" in path)
    document["paths"] = paths
    errors = {f"{name}{status}": _error(status, name) for status in _WORDS for name in ("Error", "VolumeContentError") if status >= 400}
    document["components"] = {"schemas": _untitled(_schemas()), "responses": errors, "securitySchemes": _SECURITY_SCHEMES}
    return document


def _wire_name(parameter: str) -> str:
    return parameter.removesuffix("_id") + "ID" if parameter.endswith("_id") else parameter


def _complete(operation: Document, known: Operation, has_parameters: bool) -> None:
    operation.pop("tags", None)
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path":
            parameter["name"] = _wire_name(parameter["name"])
        parameter["schema"] = _plain(parameter["schema"])
        more = known.parameters.get(parameter["name"])
        if more is not None:
            if more.get("type") == "array":
                parameter["schema"] = dict(more)
                parameter |= {"style": "form", "explode": False}
            else:
                parameter["schema"] |= more
    if known.read:
        operation["parameters"] = [*operation.get("parameters", ()), *known.read]
    if known.body is not None:
        operation["requestBody"] = known.body
    operation["security"] = [{scheme: [] for scheme in schemes} for schemes in known.security]
    operation["responses"] = {str(status): response for status, response in sorted(_responses(operation, known, has_parameters).items())}


def _responses(operation: Document, known: Operation, has_parameters: bool) -> dict[int, Document]:
    responses: dict[int, Document] = {}
    for status, schema in known.answers.items():
        kind = _KIND_OF_TEXT.get(schema.get("format")) if schema.get("type") == "string" else "application/json"
        responses[status] = {"description": _WORDS[status]}
        if schema is not EMPTY:
            responses[status]["content"] = {kind: {"schema": schema}}
        if known.headers:
            responses[status]["headers"] = _headers(*known.headers)
    for status in {*known.errors, *_usual(operation, known, has_parameters)}:
        name = "VolumeContentError" if known.security == VOLUME else "Error"
        responses[status] = {"$ref": f"#/components/responses/{name}{status}"}
    if known.security == NOBODY:
        responses[503] = {"description": _WORDS[503], "content": {"text/plain": {"schema": {"type": "string"}}}}
    return responses


def _error(status: int, schema: str) -> Document:
    content = {"application/json": {"schema": {"$ref": _REF.format(model=schema)}}}
    response: Document = {"description": _WORDS[status], "content": content}
    if status in (409, 429, 500, 503, 504):
        response["headers"] = _headers("Retry-After", "Should-Retry")
    if status == 429:
        response["headers"] |= _headers("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
    return response


def _usual(operation: Document, known: Operation, has_parameters: bool) -> Iterator[int]:
    yield 500
    if known.security == NOBODY:
        return
    if known.security == VOLUME:
        yield from (400, 401, 403, 404, 409, 413, 503, 504, 507)
        return
    yield from (400, 401, 403, 429, 503, 504)
    if has_parameters or any("TeamAuth" in scheme for schemes in known.security for scheme in schemes):
        yield 404
    if "requestBody" in operation:
        yield 413


def _headers(*names: str) -> Document:
    return {name: {"description": _HEADERS[name], "schema": {"type": "string"}} for name in names}


def _plain(schema: Mapping[str, Any]) -> Document:
    """A parameter is there or not; it cannot be null."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key not in ("anyOf", "title")}
    return rest | kinds[0] if len(kinds) == 1 else dict(schema)


def _untitled(schema: Any) -> Any:
    """Without the titles that pydantic makes of names."""
    if isinstance(schema, list):
        return [_untitled(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: _untitled(part) for key, part in schema.items() if key != "title" or not isinstance(part, str)}


def _schemas() -> Document:
    received: list[type[BaseModel]] = [*models.REQUEST_BODIES.values(), models.VolumeEntryChange]
    _, requests = models_json_schema([(model, "validation") for model in received], ref_template=_REF)
    said = [*vars(answers).values(), *vars(template_answers).values()]
    _, responses = models_json_schema(
        [(model, "serialization") for model in said if isinstance(model, type) and issubclass(model, answers.Answer)],
        ref_template=_REF,
    )
    twice = requests["$defs"].keys() & responses["$defs"].keys()
    schemas: Document = {**requests["$defs"], **responses["$defs"]}
    if any(requests["$defs"][name] != responses["$defs"][name] for name in twice):
        raise AssertionError(f"names that mean two things: {sorted(twice)}")
    for name in [name for name in schemas if name.startswith("_")] + ["Answer"]:
        schemas.pop(name, None)
    return schemas
