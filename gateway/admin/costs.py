"""GET /admin/costs: sums over the ledger by route, backend, key, tag, adapter and time, as JSON or CSV. The sums are made in gateway/store/costs.py."""

from __future__ import annotations

import csv
import io
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from gateway.admin.access import InGateway
from gateway.admin.endpoint import AdminRoute
from gateway.admin.shapes import Since, Until
from gateway.store import costs, period
from gateway.store.export import cell
from serving.database import reading

router = APIRouter(route_class=AdminRoute, tags=["costs"])
_GROUPS = f"Any of {', '.join(costs.GROUPS)}, separated by commas; empty: one row for everything."


@router.get("/costs", responses={200: {"content": {"text/csv": {}}}})
def report(
    request: Request,
    gateway: InGateway,
    group_by: Annotated[str, Query(description=_GROUPS)] = "route",
    since: Since = None,
    until: Until = None,
) -> Response:
    """The cost report. `Accept: text/csv` gives the rows as CSV.

    Each row has the group's keys, tokens, and money in two faces (`hosted_*`, `local_amortised_*`) beside what the first hosted candidate of each route would
    have cost (`all_hosted_*`) and what was saved (`saved_*`, over requests where all of it is known). Idle GPU cost is on top, in no row.
    """
    names = [name.strip() for name in group_by.split(",") if name.strip()]
    span = period.parse(since, until)
    with reading(gateway.database) as conn:
        made = costs.report(conn, names, span)
    if "text/csv" in request.headers.get("accept", ""):
        return Response(as_csv(made["data"]), media_type="text/csv; charset=utf-8", headers={"content-disposition": 'attachment; filename="costs.csv"'})
    return JSONResponse(made)


def as_csv(rows: list[dict[str, Any]]) -> str:
    """Rows with the same keys as CSV with a header; null is empty. Text that a spreadsheet would take for a formula gets a leading apostrophe."""
    file = io.StringIO()
    if rows:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({name: cell(value) for name, value in row.items()} for row in rows)
    return file.getvalue()
