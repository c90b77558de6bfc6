"""GET /admin/openapi.json and /admin/docs: the admin API described, as JSON and as one page.

The page is rendered here from the JSON: FastAPI's own loads its code from elsewhere, and this one works without a network and without scripts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html import escape
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.routing import BaseRoute

from gateway.admin.endpoint import AdminRoute

router = APIRouter(route_class=AdminRoute, include_in_schema=False)
_INTRO = (
    "Operators' endpoints of this gateway. Send Authorization: Bearer <admin key>; without an admin key they answer this machine only. "
    "Money is x_nanousd (integer, 1e-9 USD) and x_usd (decimal string); unknown is null. Times are RFC 3339 in UTC. "
    "Errors are {error: {message, type, param, code}}."
)
_POLICY = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


@router.get("/openapi.json")
def openapi(request: Request) -> JSONResponse:
    """The description that tools read."""
    return JSONResponse(describe(request.app.routes))


@router.get("/docs")
def page(request: Request) -> HTMLResponse:
    """The description that people read."""
    return HTMLResponse(render(describe(request.app.routes)), headers={"content-security-policy": _POLICY, "x-content-type-options": "nosniff"})


def describe(routes: list[BaseRoute]) -> dict[str, Any]:
    """OpenAPI 3.1 of the routes under /admin."""
    mine = [route for route in routes if getattr(route, "path", "").startswith("/admin")]
    return get_openapi(title="Breakeven admin API", version=version("breakeven"), description=_INTRO, routes=mine)


def render(described: Mapping[str, Any]) -> str:
    """One HTML page of an OpenAPI description."""
    operations = list(_operations(described))
    tags = list(dict.fromkeys(tag for tag, *_ in operations))
    nav = "".join(f'<li><a href="#{escape(tag)}">{escape(tag)}</a></li>' for tag in tags)
    sections = "".join(
        f'<section id="{escape(tag)}"><h2>{escape(tag)}</h2>{"".join(html for other, html in operations if other == tag)}</section>' for tag in tags
    )
    schemas = described.get("components", {}).get("schemas", {})
    shapes = "".join(_schema(name, schema) for name, schema in sorted(schemas.items()) if not name.startswith(("HTTPValidation", "ValidationError")))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        '<title>Breakeven admin API</title><link rel="icon" href="/dashboard/static/icon.svg"><link rel="stylesheet" href="/dashboard/static/base.css">'
        '<link rel="stylesheet" href="/dashboard/static/docs.css"></head><body class="docs">'
        f"<header><h1>Breakeven admin API</h1><p>{escape(described['info']['description'])}</p>"
        '<p><a href="/admin/openapi.json">openapi.json</a> · <a href="/dashboard">dashboard</a></p>'
        f'<nav aria-label="Sections"><ul>{nav}<li><a href="#shapes">shapes</a></li></ul></nav></header><main>{sections}'
        f'<section id="shapes"><h2>shapes</h2>{shapes}</section></main></body></html>'
    )


def _operations(described: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(tag, HTML) of every operation."""
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            yield (operation.get("tags") or ["other"])[0], _operation(method, path, operation)


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(p['name'])}</code></td><td>{escape(p['in'])}{', required' if p.get('required') else ''}</td>"
        f"<td>{_type(p.get('schema', {}))}</td><td>{escape(p.get('description') or p.get('schema', {}).get('description', ''))}</td></tr>"
        for p in operation.get("parameters", ())
    )
    table = f"<table><thead><tr><th>parameter</th><th>where</th><th>type</th><th>meaning</th></tr></thead><tbody>{rows}</tbody></table>" if rows else ""
    body = "".join(f"<p>Body: {_type(c.get('schema', {}))}</p>" for c in operation.get("requestBody", {}).get("content", {}).values())
    answers = "".join(
        f"<li><code>{escape(status)}</code> {' or '.join(_type(c.get('schema', {})) for c in answer.get('content', {}).values())}</li>"
        for status, answer in operation.get("responses", {}).items()
        if status != "422"  # FastAPI's own description of a malformed request; ours is a 400 in the shape of the introduction
    )
    return (
        f'<article><h3><span class="method {escape(method)}">{escape(method.upper())}</span> <code>{escape(path)}</code></h3>'
        f"<p>{escape(operation.get('description') or operation.get('summary', ''))}</p>{table}{body}<ul>{answers}</ul></article>"
    )


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    required = set(schema.get("required", ()))
    rows = "".join(
        f"<tr><td><code>{escape(field)}</code>{'' if field in required else ' ?'}</td>"
        f"<td>{_type(shape)}</td><td>{escape(shape.get('description', ''))}</td></tr>"
        for field, shape in schema.get("properties", {}).items()
    )
    said = f"<p>{escape(schema.get('description', ''))}</p>" if schema.get("description") else ""
    return f'<article id="shape-{escape(name)}"><h3><code>{_shown(escape(name))}</code></h3>{said}<table><tbody>{rows}</tbody></table></article>'


def _type(schema: Mapping[str, Any]) -> str:
    """A short name of a schema, linked where it has a section of its own."""
    if "$ref" in schema:
        name = escape(str(schema["$ref"]).rsplit("/", 1)[-1])
        return f'<a href="#shape-{name}">{_shown(name)}</a>'
    if "anyOf" in schema:
        return " | ".join(_type(option) for option in schema["anyOf"])
    if schema.get("type") == "array":
        return f"{_type(schema.get('items', {}))}[]"
    if "const" in schema or "enum" in schema:
        return " | ".join(f"<code>{escape(str(value))}</code>" for value in schema.get("enum", [schema.get("const")]))
    return escape(str(schema.get("type", "anything")))


def _shown(name: str) -> str:
    """`Listed_RouteBody_`, as FastAPI names a generic's instance, is a list of RouteBody."""
    return re.sub(r"^Listed_(\w+)_$", r"list of \1", name)
