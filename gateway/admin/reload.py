"""POST /admin/reload: read the configuration file again, check it whole, apply it whole."""

from __future__ import annotations

from fastapi import APIRouter

from gateway.admin.access import InGateway
from gateway.admin.endpoint import AdminRoute, Body

router = APIRouter(route_class=AdminRoute, tags=["configuration"])


class Reloaded(Body):
    """The configuration in force. `warnings` are things that are allowed and probably not meant."""

    source: str
    routes: tuple[str, ...]
    warnings: tuple[str, ...]


@router.post("/reload")
async def reload(gateway: InGateway) -> Reloaded:
    """Requests under way keep what they started with. A file that is not valid changes nothing: 422 with every problem, file and line."""
    config = await gateway.reload()
    return Reloaded(source=str(config.source), routes=tuple(config.routes), warnings=tuple(map(str, config.warnings)))
