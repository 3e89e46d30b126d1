"""The application's OpenAPI description, with what FastAPI cannot know of it put right."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from memseg3d.service.protocol import HintRequest, RoundRequest, SessionRequest
from memseg3d.service.streams import MEDIA_TYPE

_BODIES = (RoundRequest, HintRequest, SessionRequest)
_PLACE = "#/components/schemas/{model}"


def described(app: FastAPI) -> dict[str, Any]:
    """OpenAPI of `app`; made once."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        for operations in schema["paths"].values():
            for operation in operations.values():
                _put_right(operation["responses"])
        # Of bodies that routes read themselves.
        _, bodies = models_json_schema([(each, "validation") for each in _BODIES], ref_template=_PLACE)
        schema["components"]["schemas"] |= bodies["$defs"]
        schema["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        schema["security"] = [{"token": []}]
        for path in ("/v1/health", "/v1/ready"):
            schema["paths"][path]["get"]["security"] = []
        app.openapi_schema = schema
    return app.openapi_schema


def _put_right(responses: dict[str, Any]) -> None:
    # This service answers 400 to what FastAPI's own error model describes as 422.
    invalid = responses.get("422", {}).get("content", {}).get("application/json", {}).get("schema", {})
    if str(invalid.get("$ref", "")).endswith("/HTTPValidationError"):
        del responses["422"]
    for status, response in responses.items():
        content = response.get("content", {})
        if status >= "400" and MEDIA_TYPE in content:
            # An error is one JSON object also where a good answer would be a stream.
            content["application/json"] = content.pop(MEDIA_TYPE)
