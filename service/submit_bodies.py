"""How a submit looks in the OpenAPI document: its body, which FastAPI does not read itself, and an answer of its own.

`service.upload` reads the bodies; the routes that submit put these descriptions beside themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, TypeAdapter

from core.links import MAX_URL
from service.schemas import JobOut

_URL: Mapping[str, Any] = {
    "type": "string",
    "maxLength": MAX_URL,
    "description": "A video of YouTube, or a file on a host that the operator allows; the worker fetches it.",
}


REUSED: dict[int | str, dict[str, Any]] = {
    200: {"model": JobOut, "description": "An identical job of the account has completed; it is the answer."}
}
"""How a submit is answered without a new job, for OpenAPI."""


def form_body(form: type[BaseModel], properties: Mapping[str, Any]) -> dict[str, Any]:
    """The OpenAPI description of an upload form; the body itself is read by `service.upload`."""
    schema = schema_of(form)
    body = {
        "type": "object",
        "required": ["file", *schema.get("required", [])],
        "properties": {**schema["properties"], **properties},
        "additionalProperties": False,
    }
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": body}}}}


def either_body(form: type[BaseModel], file: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI description of a submit: a form with a file, or JSON with a URL and the same options."""
    described = form_body(form, {"file": file})
    schema = schema_of(form)
    body = {
        "type": "object",
        "required": ["url", *schema.get("required", [])],
        "properties": {"url": _URL, **schema["properties"]},
        "additionalProperties": False,
    }
    described["requestBody"]["content"]["application/json"] = {"schema": body}
    return described


def schema_of(form: Any) -> dict[str, Any]:
    """The JSON schema of a type, without references: a hand-written request body has no component section."""
    schema = TypeAdapter(form).json_schema()
    inlined: dict[str, Any] = _inline(schema, schema.pop("$defs", {}))
    return inlined


def one_file(what: str) -> dict[str, Any]:
    """The OpenAPI description of a file."""
    return {"type": "string", "format": "binary", "description": what}


def _inline(node: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(node, dict):
        if "$ref" in node:
            return _inline(definitions[node["$ref"].rsplit("/", 1)[-1]], definitions)
        return {key: _inline(value, definitions) for key, value in node.items()}
    return [_inline(item, definitions) for item in node] if isinstance(node, list) else node
