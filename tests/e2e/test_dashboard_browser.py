"""The dashboard in a real Chromium: what people see, with mouse, keyboard, a phone and a screen reader in mind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.store import exchanges
from router.types import Exchange, Outcome, Usage
from serving.database import writing
from tests.gateway.admin import world
from tests.gateway.admin.world import NOW, World
from tests.gateway.dashboard.browser import Page, browser

pytestmark = pytest.mark.browser
READY = "document.documentElement.dataset.ready === 'yes'"
HOSTILE = "<img src=x onerror=window.owned=1>"


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A gateway with a day behind it, one route of it with a hostile name."""
    config = world.configure(tmp_path_factory.mktemp("lived"))
    database = world.fresh(config)
    world.past(database, config, pace=0.35)
    with writing(database) as conn:
        exchanges.insert(conn, [_hostile()])
    with world.serve(config, database) as made:
        yield made


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[World]:
    """A fresh gateway with an admin key."""
    config = world.configure(tmp_path, admin_key=world.ADMIN_KEY)
    with world.serve(config, world.fresh(config)) as made:
        yield made


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    """A fresh browser at laptop size. Whatever happens, the page must not have logged an error."""
    async with browser() as made:
        await made.screen(1280, 900)
        yield made
        assert made.problems == []


def _hostile() -> Exchange:
    usage = Usage(10, 0, 5)
    return Exchange(
        *("req_x", NOW - 100, HOSTILE, "chat", f"openai/{HOSTILE}", None, None, {}, False, 200, Outcome.OK, usage, "provider", None, "unknown", 0, None),
        *(10.0, 20.0, 0.1, "cost", None),
        sandbox=True,
    )


async def test_it_says_what_was_spent_and_saved(lived: World, page: Page) -> None:
    """The headline, the cards, the bars, the routes with their adapters, all marked as sandbox numbers."""
    await page.open(f"{lived.url}/dashboard?refresh=off", until=READY)
    headline = await page.run("document.querySelector('.headline').innerText")
    assert "were answered locally" in headline
    assert "hosted alone would have been $" in headline
    assert await page.run("!document.querySelector('#sandbox').hidden && document.querySelectorAll('.card .chip.warn').length >= 3")
    assert await page.run("document.querySelectorAll('svg.bars .column rect').length") > 20
    routes = await page.run("document.querySelector('#routes').innerText")
    assert all(text in routes for text in ("support-triage@2", "gate passed", "canary @2 10 %", "hosted only"))
    assert "within 1.50 s" in await page.run("document.querySelector('#latency').innerText")


async def test_numbers_agree_with_the_admin_api(lived: World, page: Page) -> None:
    """What the page adds up is what /admin/costs adds up."""
    await page.open(f"{lived.url}/dashboard?refresh=off&range=24h&metric=requests", until=READY)
    shown = await page.run("[...document.querySelectorAll('.legend li b')].reduce((sum, e) => sum + Number(e.textContent.replace(/,/g, '')), 0)")
    total = await page.run(
        "fetch('/admin/costs?group_by=&since=2026-11-22T15:00:00Z&until=2026-11-23T15:00:00Z').then(r => r.json()).then(r => r.total.requests)"
    )
    assert shown == total > 300


async def test_a_decision_opens_with_its_reasons_and_replays(lived: World, page: Page) -> None:
    """From the list by click: candidates, what would have changed it, the same choice again; Escape closes and gives the focus back."""
    await page.open(f"{lived.url}/dashboard?refresh=off", until=READY)
    await page.click("#decisions button")
    await page.until("document.querySelector('dialog[open] table')")
    text = await page.run("document.querySelector('dialog').innerText")
    assert "What would have changed it" in text
    assert "chosen" in text
    assert await page.run("location.hash.startsWith('#dec_')")
    await page.click("dialog .panel-foot button")
    await page.until("document.querySelector('dialog [role=status]').innerText === 'the same choice'")
    await page.key("Escape", 27)
    await page.until("!document.querySelector('dialog').open && location.hash === ''")
    assert await page.run("document.activeElement.dataset.focus?.startsWith('dec_')")


async def test_a_link_to_a_decision_opens_it(lived: World, page: Page) -> None:
    """Someone was sent the URL; one that is gone says so."""
    await page.open(f"{lived.url}/dashboard?refresh=off#dec_00000003", until="document.querySelector('dialog[open] table')")
    await page.open("about:blank")
    await page.open(f"{lived.url}/dashboard?refresh=off#dec_gone", until="document.querySelector('dialog[open] .problem')")
    assert "There is no decision" in await page.run("document.querySelector('dialog').innerText")
    page.problems.clear()  # the browser itself logs the 404 that was asked for


async def test_the_keyboard_reads_the_bars(lived: World, page: Page) -> None:
    """Arrow keys walk from bar to bar, Escape lets go; the table beneath has the same numbers."""
    await page.open(f"{lived.url}/dashboard?refresh=off", until=READY)
    await page.run("document.querySelector('svg.bars').focus()")
    await page.key("ArrowRight", 39)
    first = await page.run("document.querySelector('.legend').innerText")
    await page.key("End", 35)
    await page.key("ArrowLeft", 37)
    last = await page.run("document.querySelector('.legend').innerText")
    assert first != last
    assert "–" in first.splitlines()[0]
    assert await page.run("document.querySelector('.legend').getAttribute('aria-live')") == "polite"
    await page.key("Escape", 27)
    assert (await page.run("document.querySelector('.legend').innerText")).startswith("Altogether")
    await page.click("#bars summary")
    assert await page.run("document.querySelectorAll('#bars details[open] tbody tr').length") >= 20


async def test_the_url_keeps_what_is_shown(lived: World, page: Page) -> None:
    """Route, metric and range go into the URL and come back from it."""
    await page.open(f"{lived.url}/dashboard?refresh=off", until=READY)
    await page.run("(() => { const e = document.querySelector('#route'); e.value = 'assistant'; e.dispatchEvent(new Event('change')); })()")
    await page.until("document.querySelectorAll('#routes tbody tr').length === 1")
    await page.click("#metric button:nth-child(2)")
    await page.until("location.search.includes('metric=requests') && location.search.includes('route=assistant')")
    await page.open(await page.run("location.href"), until=READY)
    assert await page.run("document.querySelector('#route').value") == "assistant"
    assert await page.run("document.querySelector('#metric [aria-pressed=true]').textContent") == "Requests"
    assert "went to hosted models" in await page.run("document.querySelector('.headline').innerText")


async def test_names_are_text_never_markup(lived: World, page: Page) -> None:
    """A route and a model named like an attack are shown as they are."""
    await page.open(f"{lived.url}/dashboard?refresh=off", until=READY)
    assert HOSTILE in await page.run("document.querySelector('#latency').innerText")
    assert await page.run("window.owned === undefined && document.querySelectorAll('img[src=x]').length === 0")


async def test_unknown_costs_are_said(lived: World, page: Page) -> None:
    """A request without a price is in no sum, and the page says so."""
    await page.open(f"{lived.url}/dashboard?refresh=off", until=READY)
    assert "1 requests of unknown cost are in no sum" in await page.run("document.querySelector('#foot').innerText")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
async def test_nothing_is_cut_off_and_all_text_can_be_read(lived: World, page: Page, width: int, height: int, dark: bool) -> None:
    """No sideways scrolling at laptop and phone width, and contrast of at least 4.5 to 1 for every piece of text, light and dark."""
    await page.screen(width, height, dark=dark, touch=width < 500)
    await page.open(f"{lived.url}/dashboard?refresh=off", until=READY)
    assert await page.run("document.documentElement.scrollWidth") == width
    assert await page.run(CONTRAST) == []
    await page.run("document.documentElement.style.setProperty('--muted', 'var(--line)')")
    assert await page.run(CONTRAST) != []  # the measure can see a text that is too faint


async def test_everything_has_a_name(lived: World, page: Page) -> None:
    """What a screen reader lands on says what it is: controls, pictures, tables, regions."""
    await page.open(f"{lived.url}/dashboard?refresh=off", until=READY)
    assert await page.run("[...document.querySelectorAll('table')].every((t) => t.caption)")
    assert await page.run("[...document.querySelectorAll('button, select, a')].every((e) => (e.innerText || e.labels?.[0]?.innerText || '').trim())")
    assert await page.run("document.querySelector('svg.bars').getAttribute('aria-label').length > 20")
    assert await page.run("[...document.querySelectorAll('#main section')].every((e) => e.hidden || e.ariaLabel || e.getAttribute('aria-labelledby'))")
    assert await page.run("document.querySelectorAll('h1').length === 1 && document.documentElement.lang === 'en'")


async def test_a_fresh_install_says_what_to_do(locked: World, page: Page) -> None:
    """Log in by keyboard; nothing is there yet; the snippet names this gateway; log out."""
    await page.open(f"{locked.url}/dashboard")
    await page.until("document.querySelector('#key') === document.activeElement")
    await page.type("wrong")
    await page.key("Enter", 13)
    await page.until("document.querySelector('.problem')")
    page.problems.clear()  # the browser itself logs the 401 that was asked for
    await page.run("document.querySelector('#key').focus()")
    await page.type(world.ADMIN_KEY)
    await page.key("Enter", 13)
    await page.until(READY)
    text = await page.run("document.querySelector('#main').innerText")
    assert "Nothing has been asked yet" in text
    assert f'base_url="{locked.url}/v1"' in text
    assert 'model="support-triage"' in text
    await page.click("#logout")
    await page.until("document.querySelector('#key')")


async def test_new_requests_appear_by_themselves(locked: World, page: Page) -> None:
    """The page refreshes; an expired session leads back to the login."""
    await page.open(f"{locked.url}/dashboard/login", until="document.querySelector('#key')")
    await page.type(world.ADMIN_KEY)
    await page.key("Enter", 13)
    await page.until(READY)
    with writing(locked.gateway.database) as conn:
        exchanges.insert(conn, [_hostile()])
    await page.until("document.querySelector('.headline').innerText.includes('1 requests')", 15)
    await page.send("Network.clearBrowserCookies")
    await page.click("#refresh")
    await page.until("document.querySelector('#key')")
    page.problems.clear()  # the browser itself logs the 401


# Every visible text node whose contrast with the ground behind it is too small, as [text, ratio].
CONTRAST = """(() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (e) => {
    for (let at = e; at; at = at.parentElement) { const c = rgba(getComputedStyle(at).backgroundColor); if (c[3] > 200) return c; }
    return [255, 255, 255];
  };
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement, text = walk.currentNode.textContent.trim();
    if (!text || !e.checkVisibility() || e.closest('.visually-hidden, .skip, noscript, option')) continue;
    const style = getComputedStyle(e);
    const [a, b] = [light(rgba(e instanceof SVGElement ? style.fill : style.color)), light(ground(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 600);
    if (ratio < (large ? 3 : 4.5)) found.push([text.slice(0, 40), ratio.toFixed(2)]);
  }
  return found;
})()"""
