"""The public endpoints as plain ASGI: which path is what, and the one edge where every error becomes an answer. What they do is elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from time import perf_counter

import orjson

from gateway import auth, cors, exchange, http_errors, openai_models, passthrough
from gateway.asgi import Broken, ClientGone, Receive, Request, Scope, Send, answer
from gateway.context import Gateway
from gateway.files.routes import Kept
from gateway.ids import new_id
from gateway.quality import feedback
from gateway.responses import resource
from gateway.scrape import Scrape
from gateway.store.keys import Key
from router.errors import AuthError, BreakevenError, LimitError, RequestError

log = logging.getLogger("breakeven.gateway")

Handler = Callable[[Request], Awaitable[None]]
_JSON = (b"content-type", b"application/json")


class Endpoints:
    """The handlers of one gateway by path."""

    def __init__(self, gateway: Gateway, scrape: Scrape) -> None:
        self._gateway = gateway
        self._scrape = scrape
        self._kept = Kept(gateway)
        self._table: dict[str, tuple[frozenset[str], Handler]] = {
            "/v1/chat/completions": (frozenset({"POST"}), lambda request: exchange.serve(gateway, "chat", request)),
            "/v1/completions": (frozenset({"POST"}), lambda request: exchange.serve(gateway, "completions", request)),
            "/v1/embeddings": (frozenset({"POST"}), lambda request: exchange.serve(gateway, "embeddings", request)),
            "/v1/responses": (frozenset({"POST"}), lambda request: exchange.serve(gateway, "responses", request)),
            "/v1/models": (frozenset({"GET", "HEAD"}), self._models),
            feedback.PATH: (frozenset({"POST"}), lambda request: feedback.serve(gateway, request)),
            "/healthz": (frozenset({"GET", "HEAD"}), self._health),
            "/readyz": (frozenset({"GET", "HEAD"}), self._ready),
            "/metrics": (frozenset({"GET", "HEAD"}), self._metrics),
        }

    def find(self, path: str) -> tuple[frozenset[str], Handler] | None:
        """The handler of a path and the methods it takes; None: not a path of ours."""
        found = self._table.get(path)
        if found is not None or not path.startswith("/v1/"):
            return found
        if path.startswith("/v1/models/"):
            return frozenset({"GET", "HEAD", "DELETE"}), self._model
        if path.startswith(resource.PREFIX):
            return frozenset({"GET", "POST", "DELETE"}), lambda request: resource.serve(self._gateway, request)
        if (kept := self._kept.find(path)) is not None:
            return kept
        return frozenset({"GET", "HEAD", "POST", "DELETE", "PUT", "PATCH"}), lambda request: passthrough.serve(self._gateway, request)

    async def serve(self, entry: tuple[frozenset[str], Handler], scope: Scope, receive: Receive, send: Send) -> None:
        """The edge: run a handler, answer what it raises."""
        if (origins := self._gateway.config.server.cors_origins) and scope["path"].startswith(cors.PREFIX):
            if cors.asks_first(scope):
                entry = frozenset({"OPTIONS"}), lambda request: cors.permit(request, origins)
            else:
                send = cors.shown_to(send, scope, origins)
        request = Request(scope, receive, send, new_id("req", self._gateway.clock(), 10), perf_counter())
        methods, handler = entry
        try:
            _check_method(scope["method"], scope["path"], methods)
            await handler(request)
        except (ClientGone, Broken):
            return
        except BreakevenError as error:
            await self._refuse(request, error, methods)
        except Exception:
            log.exception("%s %s (%s) failed", scope["method"], scope["path"], request.id)
            await _internal_error(request)
        finally:
            bodies = self._gateway.admission.bodies
            if bodies.total:
                bodies.release(request.id)

    async def _refuse(self, request: Request, error: BreakevenError, methods: frozenset[str]) -> None:
        said = http_errors.answer(error)
        self._gateway.metrics.count("breakeven_refused_requests", said.code or str(said.status))
        headers = [*said.headers, (b"x-request-id", request.id.encode())]
        if isinstance(error, LimitError) and error.status == 429:
            headers += self._gateway.limits.headers(self._key(request), self._gateway.clock())
        if said.code == "unsupported_content_encoding":
            headers.append((b"accept-encoding", b"gzip, deflate"))
        if said.status == 405:
            headers.append((b"allow", ", ".join(sorted(methods)).encode()))
        if said.status in {408, 413}:
            headers.append((b"connection", b"close"))  # the rest of the body is not going to be read
        await answer(request.send, said.status, headers, said.body)

    async def _models(self, request: Request) -> None:
        view = self._gateway.fleet.view
        body = openai_models.listing(view, self._key(request), int(self._gateway.started))
        await _send_json(request, 200, body)

    async def _model(self, request: Request) -> None:
        name, fleet = request.scope["path"].removeprefix("/v1/models/"), self._gateway.fleet
        if request.scope["method"] == "DELETE":
            if name in fleet.view.ft_names:
                await self._kept.jobs.delete_model(request, name)
            else:
                await passthrough.serve(self._gateway, request)
            return
        key = self._key(request)
        auth.check_scope(key, name, is_route=name in fleet.view.routes)
        await _send_json(request, 200, openai_models.one(fleet.plan(fleet.view, name), int(self._gateway.started)))

    async def _health(self, request: Request) -> None:
        await _send_json(request, 200, {"status": "ok"})

    async def _ready(self, request: Request) -> None:
        """Ready to answer: engines are not waited for, local candidates are merely infeasible until they are healthy."""
        gateway = self._gateway
        problems = []
        if gateway.fleet.view.version < 0:
            problems.append("the database has not been read yet")
        if gateway.spool.pending:
            problems.append("the ledger's disk does not take records")
        if gateway.admission.draining:
            problems.append("this process is about to end: what is under way is finished, send nothing new")
        status = "draining" if gateway.admission.draining else "not ready" if problems else "ready"
        await _send_json(request, 503 if problems else 200, {"status": status, "problems": problems})

    async def _metrics(self, request: Request) -> None:
        config = self._gateway.config.server
        secret = config.admin_key.get_secret_value() if config.admin_key is not None else None
        if not config.loopback and not auth.is_admin(request.header(b"authorization"), secret):
            raise AuthError("Metrics need the admin key: send Authorization: Bearer <admin key>.", status=401)
        text, kind = await self._scrape.shown((request.header(b"accept") or b"").decode("latin-1"))
        await answer(request.send, 200, [(b"content-type", kind.encode()), (b"x-request-id", request.id.encode())], text)

    def _key(self, request: Request) -> Key | None:
        return auth.of(request.scope, self._gateway.fleet.view, self._gateway.clock())


async def _send_json(request: Request, status: int, body: object) -> None:
    await answer(request.send, status, [_JSON, (b"x-request-id", request.id.encode())], orjson.dumps(body))


async def _internal_error(request: Request) -> None:
    message = f"The gateway failed to answer; its log has the details under {request.id}."
    body = http_errors.body(message, "server_error", code="internal_error")
    await answer(request.send, 500, [_JSON, (b"x-request-id", request.id.encode())], body)


def _check_method(method: str, path: str, methods: frozenset[str]) -> None:
    if method not in methods:
        allowed = " or ".join(sorted(methods - {"HEAD"}))
        raise RequestError(f"Not allowed to {method} on {path}; use {allowed}.", status=405, code="method_not_supported")
