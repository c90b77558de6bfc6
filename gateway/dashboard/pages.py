"""The dashboard's page, its login and its static files. No data here: the scripts read /admin.

Everything comes from this origin and nothing is written inline, so that the content security policy can forbid all else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from html import escape
from pathlib import Path
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from gateway.admin.access import COOKIE, SESSION_S, admin_key, admit, caller_of, gateway_of, matches, new_session, require_same_origin
from gateway.admin.endpoint import AdminRoute
from router.errors import AuthError, RequestError

STATIC = Path(__file__).parent / "static"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".html": "text/html"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
_SECURITY: Mapping[str, str] = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",  # with no-referrer browsers send `Origin: null` with our own forms
    "cross-origin-opener-policy": "same-origin",
}
_MOST_FORM = 4096


def router() -> APIRouter:
    """The dashboard's endpoints; the files are read once, here."""
    pages = Pages({path.name: path.read_bytes() for path in sorted(STATIC.iterdir())})
    made = APIRouter(prefix="/dashboard", route_class=AdminRoute, include_in_schema=False)
    made.add_api_route("", pages.dashboard, methods=["GET"])
    made.add_api_route("/", pages.dashboard, methods=["GET"])
    made.add_api_route("/login", pages.login_form, methods=["GET"])
    made.add_api_route("/login", pages.login, methods=["POST"])
    made.add_api_route("/logout", pages.logout, methods=["POST"])
    made.add_api_route("/static/{name}", pages.static, methods=["GET"])
    return made


class Pages:
    """The endpoints, over files by name."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        # Each module is asked for at once, not when another one that imports it has come.
        modules = [name for name in files if name.endswith(".js") and name not in {"main.js", "theme.js"}]
        preloads = "".join(f'<link rel="modulepreload" href="/dashboard/static/{name}">' for name in modules)
        self._files = {**files, "index.html": files["index.html"].replace(b"<!--modules-->", preloads.encode())}

    def dashboard(self, request: Request) -> Response:
        """The dashboard; who must log in is sent there, who may not come is told why."""
        gateway = gateway_of(request)
        try:
            admit(caller_of(request), gateway.config.server, gateway.clock())
        except AuthError as error:
            if error.status == 401:
                return RedirectResponse("/dashboard/login", 303)
            # Messages of the error tree are sentences of ours; none repeats what a client sent.
            return self._page("refused.html", escape(error.message), error.status)
        return _file(request, "index.html", self._files["index.html"])

    def login_form(self, request: Request) -> Response:
        """The form; without an admin key there is nothing to log in to."""
        if admin_key(gateway_of(request).config.server) is None:
            return RedirectResponse("/dashboard", 303)
        return self._page("login.html", "", 200)

    async def login(self, request: Request) -> Response:
        """Take the admin key, give a session cookie that scripts cannot read and other sites cannot use."""
        gateway = gateway_of(request)
        require_same_origin(caller_of(request))
        key = admin_key(gateway.config.server)
        if key is None or not matches(await _form_key(request), key):
            return self._page("login.html", '<p class="problem" role="alert">That is not the admin key.</p>', 401)
        answer = RedirectResponse("/dashboard", 303)
        secure = request.url.scheme == "https"
        answer.set_cookie(COOKIE, new_session(key, gateway.clock()), max_age=SESSION_S, httponly=True, samesite="strict", secure=secure)
        return answer

    def logout(self, request: Request) -> Response:
        """Forget the session in this browser."""
        require_same_origin(caller_of(request))
        answer = RedirectResponse("/dashboard/login", 303)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer

    def static(self, request: Request, name: str) -> Response:
        """A style, script or picture. They hold no data, so they need no login."""
        if name not in self._files or name.endswith(".html"):
            raise RequestError(f"The dashboard has no file {name!r}.", status=404, code="file_not_found")
        return _file(request, name, self._files[name])

    def _page(self, name: str, problem: str, status: int) -> Response:
        return Response(self._files[name].replace(b"<!--problem-->", problem.encode()), status, {**_SECURITY, "cache-control": "no-store"}, "text/html")


async def _form_key(request: Request) -> str:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MOST_FORM:
            raise RequestError("The form is larger than a key can be.", status=413, code="request_too_large")
    return parse_qs(body.decode("utf-8", "replace")).get("key", [""])[0]


def _file(request: Request, name: str, content: bytes) -> Response:
    """The file, or 304 when the browser has it: files change with the version of the program only."""
    tag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'
    headers = {**_SECURITY, "cache-control": "no-cache", "etag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=_TYPES[Path(name).suffix], headers=headers)
