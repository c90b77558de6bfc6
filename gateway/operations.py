"""The FastAPI half of the application: the admin API and the dashboard. Building it takes a good part of a second, so app.py does that beside serving."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gateway import admin, dashboard, http_errors

if TYPE_CHECKING:
    from gateway.context import Gateway


def build(gateway: Gateway) -> FastAPI:
    """The application for everything outside `/v1`; `app.state.gateway` is the gateway."""
    app = FastAPI(title="Breakeven", version=version("breakeven"), docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(admin.router())
    app.include_router(dashboard.router())
    app.add_exception_handler(HTTPException, _http_error)
    app.state.gateway = gateway
    return app


async def _http_error(_request: Request, error: Exception) -> Response:
    """Unknown paths and methods, in the one error shape."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    said = str(error.detail) if isinstance(error, HTTPException) else "Internal error"
    code = {404: "unknown_url", 405: "method_not_supported"}.get(status)
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    return Response(http_errors.body(said, "invalid_request_error", code=code), status, headers, media_type="application/json")
