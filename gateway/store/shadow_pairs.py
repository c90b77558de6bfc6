"""Shadow calls compared with what the client got. The only writer of `shadow_pairs`. Not here: making and comparing them (gateway/quality/)."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sqlalchemy import Connection, delete, func, insert, select

from gateway.store.quality_tables import shadow_pairs


@dataclass(frozen=True, slots=True)
class Pair:
    """`id` is the exchange of the shadow call, `request_id` the client's; one of the two was answered by the version, the other by `reference_backend`.

    `agreed` is 0..1 by `scorer`; None: nothing could be compared. `cost_nanousd` is what the shadow call cost (None: unknown), as its ledger row says too.
    """

    id: str
    request_id: str
    route: str
    adapter: str
    version: int
    reference_backend: str
    agreed: float | None
    scorer: str
    time: float
    cost_nanousd: int | None


def put(conn: Connection, pair: Pair) -> None:
    """Keep one."""
    conn.execute(insert(shadow_pairs).values(**asdict(pair)))


def sums(conn: Connection, route: str, since: float) -> dict[tuple[str, int], tuple[int, float]]:
    """How many comparisons and the sum of their agreement by (adapter, version), of a route from `since` on."""
    c = shadow_pairs.c
    query = (
        select(c.adapter, c.version, func.count(), func.sum(c.agreed))
        .where(c.route == route, c.time >= since, c.agreed.is_not(None))
        .group_by(c.adapter, c.version)
    )
    return {(adapter, version): (int(n), float(total)) for adapter, version, n, total in conn.execute(query)}


def of_route(conn: Connection, route: str, since: float, limit: int = 1000) -> list[Pair]:
    """The pairs of a route from `since` on, oldest first."""
    query = select(shadow_pairs).where(shadow_pairs.c.route == route, shadow_pairs.c.time >= since).order_by(shadow_pairs.c.time).limit(limit)
    return [Pair(**row) for row in conn.execute(query).mappings()]


def delete_before(conn: Connection, before: float, limit: int) -> int:
    """Delete at most `limit` rows older than `before`; how many were deleted."""
    old = select(shadow_pairs.c.id).where(shadow_pairs.c.time < before).limit(limit)
    return conn.execute(delete(shadow_pairs).where(shadow_pairs.c.id.in_(old))).rowcount
