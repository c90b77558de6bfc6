"""The dashboard's pages, login and files, without a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gateway.admin.access import COOKIE
from gateway.dashboard.pages import STATIC
from tests.gateway.admin import world
from tests.gateway.admin.world import World

ADMIN = {"authorization": f"Bearer {world.ADMIN_KEY}"}


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[World]:
    """A gateway with an admin key."""
    config = world.configure(tmp_path, admin_key=world.ADMIN_KEY)
    with world.serve(config, world.fresh(config)) as made:
        yield made


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[World]:
    """A gateway without an admin key, on loopback."""
    config = world.configure(tmp_path)
    with world.serve(config, world.fresh(config)) as made:
        yield made


def test_without_a_key_loopback_sees_it_at_once(fresh: World) -> None:
    """The page, with and without the last slash; there is nothing to log in to."""
    for path in ("/dashboard", "/dashboard/"):
        assert "<title>Breakeven</title>" in httpx.get(fresh.url + path).text
    assert httpx.get(f"{fresh.url}/dashboard/login").headers["location"] == "/dashboard"
    assert httpx.post(f"{fresh.url}/dashboard/login", data={"key": ""}).status_code == 401


def test_a_rebound_name_is_told_why(fresh: World) -> None:
    """A page of another name that leads here gets a sentence, not the dashboard."""
    answer = httpx.get(f"{fresh.url}/dashboard", headers={"host": "rebound.example"})
    assert answer.status_code == 403
    assert "loopback" in answer.text
    assert "main.js" not in answer.text


def test_login_gives_a_session_that_opens_the_admin_api(locked: World) -> None:
    """Sent to the form, wrong key, right key, a cookie scripts cannot read, out again."""
    with httpx.Client(base_url=locked.url) as client:
        assert client.get("/dashboard").headers["location"] == "/dashboard/login"
        assert 'type="password"' in client.get("/dashboard/login").text
        wrong = client.post("/dashboard/login", data={"key": "guess"})
        assert [wrong.status_code, COOKIE in wrong.cookies] == [401, False]
        assert "not the admin key" in wrong.text
        right = client.post("/dashboard/login", data={"key": world.ADMIN_KEY}, headers={"origin": locked.url})
        assert [right.status_code, right.headers["location"]] == [303, "/dashboard"]
        assert {"httponly", "samesite=strict", "path=/"} <= {part.strip().lower() for part in right.headers["set-cookie"].split(";")}
        assert world.ADMIN_KEY not in right.headers["set-cookie"]
        assert client.get("/dashboard").status_code == 200
        assert client.get("/admin/status").json()["session"] is True
        client.post("/dashboard/logout")
        assert client.get("/admin/status").status_code == 401


def test_login_from_another_site_is_refused(locked: World) -> None:
    """A form elsewhere cannot log this browser in, or out."""
    for path in ("/dashboard/login", "/dashboard/logout"):
        answer = httpx.post(locked.url + path, data={"key": world.ADMIN_KEY}, headers={"origin": "https://evil.example"})
        assert [answer.status_code, answer.json()["error"]["code"]] == [403, "cross_origin"]


def test_a_form_larger_than_any_key_is_refused(locked: World) -> None:
    """413 before it is read whole."""
    assert httpx.post(f"{locked.url}/dashboard/login", content=b"key=" + b"x" * 100_000).status_code == 413


@pytest.mark.parametrize("name", sorted(path.name for path in STATIC.iterdir() if path.suffix != ".html"))
def test_files_are_served_with_their_type_and_a_tag(fresh: World, name: str) -> None:
    """Scripts as scripts, styles as styles; a second visit costs no bytes."""
    answer = httpx.get(f"{fresh.url}/dashboard/static/{name}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].split(";")[0] in {"text/css", "text/javascript", "image/svg+xml"}
    again = httpx.get(f"{fresh.url}/dashboard/static/{name}", headers={"if-none-match": answer.headers["etag"]})
    assert [again.status_code, again.content] == [304, b""]


def test_every_module_is_asked_for_at_once(fresh: World) -> None:
    """The page names all its modules, so that the browser does not find them one after the other."""
    page = httpx.get(f"{fresh.url}/dashboard").text
    modules = {path.name for path in STATIC.iterdir() if path.suffix == ".js"}
    assert {name for name in modules if f'"modulepreload" href="/dashboard/static/{name}"' in page} == modules - {"main.js", "theme.js"}


@pytest.mark.parametrize("name", ["index.html", "nope.js", "..%2fpages.py", "%2e%2e/pages.py"])
def test_nothing_else_is_served(fresh: World, name: str) -> None:
    """Pages have their own paths, and there is no way out of the directory."""
    assert httpx.get(f"{fresh.url}/dashboard/static/{name}").status_code == 404


def test_the_page_may_load_nothing_from_elsewhere(locked: World) -> None:
    """The policy forbids inline code, other origins and framing; no file names another host."""
    policy = httpx.get(f"{locked.url}/dashboard/login").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    for path in STATIC.iterdir():
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "//cdn" not in text
        assert "http://" not in text
        assert "https://" not in text
        assert "innerHTML" not in text
        assert "style=" not in text
