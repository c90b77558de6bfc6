"""The dashboard in a real Chromium: what people see, with mouse, keyboard, a phone and a screen reader in mind."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.store import exchanges
from router.types import Exchange, Outcome, Usage
from serving.database import writing
from tests.gateway.admin import world
from tests.gateway.admin.world import NOW, World
from tests.gateway.dashboard import year
from tests.gateway.dashboard.browser import Page, browser

pytestmark = pytest.mark.browser
VIEWS = ("overview", "routes", "latency", "local", "budgets", "adapters", "exchanges", "worth", "drift")
HOSTILE = "<img src=x onerror=window.owned=1>"


def ready(view: str = "overview") -> str:
    """True once a view shows its numbers."""
    return f"document.documentElement.dataset.ready === '{view}'"


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


@pytest.fixture(scope="module")
def aged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A gateway with a thin year behind it."""
    with year.lived(tmp_path_factory.mktemp("aged"), pace=0.06, hours=(13,), rolled=False) as made:
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


def _url(made: World, view: str = "overview", query: str = "") -> str:
    return f"{made.url}/dashboard?refresh=off{'' if view == 'overview' else f'&view={view}'}{query and '&'}{query}"


def _hostile() -> Exchange:
    usage = Usage(10, 0, 5)
    return Exchange(
        *("req_x", NOW - 100, HOSTILE, "chat", f"openai/{HOSTILE}", None, None, {}, False, 200, Outcome.OK, usage, "provider", None, "unknown", 0, None),
        *(10.0, 20.0, 0.1, "cost", None),
        sandbox=True,
    )


async def test_it_says_what_was_spent_and_saved(lived: World, page: Page) -> None:
    """The headline, the key figures with how they moved, the bars, the routes, all marked as sandbox numbers."""
    await page.open(_url(lived), until=ready())
    headline = await page.run("document.querySelector('#view .headline').innerText")
    assert "were answered locally" in headline
    assert "hosted alone would have been $" in headline
    assert await page.run("!document.querySelector('#sandbox').hidden && document.querySelectorAll('.card .chip.warn').length >= 3")
    assert await page.run("document.querySelectorAll('svg.bars .column rect').length") > 20
    assert await page.run("[...document.querySelectorAll('.card-title')].map((e) => e.textContent).join()") == (
        "Spent,Saved,Cost per 1,000 requests,Requests,Answered locally,Failed,Fell over to another,Idle GPU"
    )
    await page.open(_url(lived, "routes"), until=ready("routes"))
    routes = await page.run("document.querySelector('#routes').innerText")
    assert all(text in routes for text in ("support-triage@2", "gate passed", "canary @2 10 %", "hosted only"))
    await page.open(_url(lived, "latency"), until=ready("latency"))
    assert "within 1.50 s" in await page.run("document.querySelector('#view').innerText")


async def test_numbers_agree_with_the_admin_api(lived: World, page: Page) -> None:
    """What the page adds up is what /admin/costs adds up."""
    await page.open(_url(lived, query="range=24h&metric=requests"), until=ready())
    shown = await page.run(
        "[...document.querySelectorAll('.column rect')].length && document.querySelector('#view .headline').innerText.match(/of ([\\d,]+) requests/)[1]"
    )
    total = await page.run(
        "fetch('/admin/costs?group_by=&since=2026-11-22T15:00:00Z&until=2026-11-23T15:00:00Z').then(r => r.json()).then(r => r.total.requests)"
    )
    assert int(shown.replace(",", "")) == total > 300
    await page.click("#view details summary")
    cells = "[...document.querySelectorAll('table.plain tbody tr')].flatMap((r) => [...r.querySelectorAll('td:not(:last-child)')])"
    drawn = await page.run(f"{cells}.reduce((sum, e) => sum + Number(e.textContent.replace(/,/g, '').replace('unknown', '0')), 0)")
    was = await page.run("document.querySelector('table.plain thead th:last-child').textContent")
    last = (
        0
        if was == "period before"
        else await page.run(
            "[...document.querySelectorAll('table.plain td:last-child')].reduce((s, e) => s + Number(e.textContent.replace('unknown', '0')), 0)"
        )
    )
    assert drawn + last == total


async def test_from_a_bar_to_its_exchanges_to_one_decision(lived: World, page: Page) -> None:
    """A click on a bar lists its exchanges, a click on one lays it open, with why and what would have flipped it; it replays; Escape and Back lead back."""
    await page.open(_url(lived, query="range=24h"), until=ready())
    await page.click("svg.bars [data-index='16'] rect[data-name*='/']")
    await page.until(ready("exchanges"))
    assert await page.run("location.search.includes('view=exchanges') && location.search.includes('since=') && location.search.includes('backend=')")
    asked = await page.run("(({since, until}) => [since, until])(Object.fromEntries(new URLSearchParams(location.search)))")
    rows = await page.run(f"fetch('/admin/exchanges?limit=50&since={asked[0]}&until={asked[1]}').then(r => r.json()).then(r => r.data.length)")
    assert 0 < await page.run("document.querySelectorAll('table.exchanges tbody tr').length") <= rows
    await page.click("table.exchanges tbody button")
    await page.until("document.querySelector('#detail[open] .flips, #detail[open] h3')")
    await page.until("document.querySelector('#detail').innerText.includes('What would have changed it')")
    text = await page.run("document.querySelector('#detail').innerText")
    assert all(word in text for word in ("Attempts", "Paid to the provider", "Expected cost", "chosen"))
    assert await page.run("location.hash.startsWith('#req_')")
    await page.run("[...document.querySelectorAll('#detail button')].find((e) => e.textContent.startsWith('Decide again')).click()")
    await page.until("document.querySelector('#detail [role=status]').innerText === 'the same choice'")
    await page.key("Escape", 27)
    await page.until("!document.querySelector('#detail').open && location.hash === ''")
    assert await page.run("document.activeElement.dataset.focus?.startsWith('req_')")
    await page.run("history.back()")
    await page.until(ready())


async def test_a_link_to_a_decision_opens_it(lived: World, page: Page) -> None:
    """Someone was sent the URL; one that is gone says so."""
    await page.open(f"{_url(lived)}#dec_00000003", until="document.querySelector('#detail[open] table')")
    await page.open("about:blank")
    await page.open(f"{_url(lived)}#dec_gone", until="document.querySelector('#detail[open] .problem')")
    assert "There is no decision" in await page.run("document.querySelector('#detail').innerText")
    page.problems.clear()  # the browser itself logs the 404 that was asked for


async def test_older_exchanges_come_page_by_page(lived: World, page: Page) -> None:
    """The cursor leads on; nothing is shown twice; a filter begins anew."""
    await page.open(_url(lived, "exchanges", "range=24h"), until=ready("exchanges"))
    await page.click("[data-focus=more]")
    await page.until("document.querySelectorAll('table.exchanges tbody tr').length === 100")
    assert await page.run("new Set([...document.querySelectorAll('table.exchanges tbody button')].map((e) => e.dataset.focus)).size") == 100
    await page.run(
        "(() => { const e = document.querySelector('[data-focus=filter-backend]'); e.value = 'openai/gpt-4o'; e.dispatchEvent(new Event('change')); })()"
    )
    await page.until(f"{ready('exchanges')} && location.search.includes('backend=openai')")
    assert await page.run("[...document.querySelectorAll('table.exchanges tbody td:nth-child(3)')].every((e) => e.innerText.startsWith('openai/gpt-4o'))")


async def test_the_keyboard_reads_the_bars_and_opens_one(lived: World, page: Page) -> None:
    """Arrow keys walk from bar to bar and say what they read, Escape lets go, Enter opens; the table beneath has the same numbers."""
    await page.open(_url(lived, query="range=24h"), until=ready())
    await page.run("document.querySelector('svg.bars').focus()")
    await page.key("ArrowRight", 39)
    first = await page.run("document.querySelector('svg.bars').getAttribute('aria-valuetext')")
    await page.key("End", 35)
    await page.key("ArrowLeft", 37)
    last = await page.run("document.querySelector('svg.bars').getAttribute('aria-valuetext')")
    assert first != last
    assert "–" in first.split(":")[0] + first.split(":")[1]
    await page.key("Escape", 27)
    assert (await page.run("document.querySelector('.legend').innerText")).startswith("Altogether")
    await page.click("#view details summary")
    assert await page.run("document.querySelectorAll('#view details[open] tbody tr').length") >= 20
    await page.run("document.querySelector('svg.bars').focus()")
    await page.key("End", 35)
    await page.key("ArrowLeft", 37)
    await page.key("Enter", 13)
    await page.until(ready("exchanges"))


async def test_every_control_is_reached_with_tab(lived: World, page: Page) -> None:
    """Tab walks through everything that can be used, in one pass, and what has the focus shows it."""
    await page.open(_url(lived, "routes"), until=ready("routes"))
    can = "[...document.querySelectorAll('a[href], button, select, input, summary, [tabindex=\\'0\\']')].filter((e) => e.checkVisibility() && !e.disabled)"
    await page.run(f"{can}.forEach((e, index) => {{ e.dataset.walk = index; }})")
    total, seen, unseen = await page.run(f"{can}.length"), set(), []
    for _ in range(total + 4):
        await page.key("Tab", 9)
        walked = await page.run("document.activeElement.dataset.walk")
        if walked is not None:
            seen.add(walked)
            if await page.run("getComputedStyle(document.activeElement).outlineStyle") == "none":
                unseen.append(await page.run("document.activeElement.outerHTML.slice(0, 90)"))
    missed = await page.run(f"{can}.filter((e) => !{json.dumps(sorted(seen))}.includes(e.dataset.walk)).map((e) => e.outerHTML.slice(0, 90))")
    assert [missed, unseen] == [[], []]
    assert total > 20


async def test_single_keys_are_shortcuts(lived: World, page: Page) -> None:
    """Views by number, ranges by brackets, light and dark, help; typing is left alone, and they can be turned off."""
    await page.open(_url(lived), until=ready())
    await page.type_key("3")
    await page.until(ready("latency"))
    await page.type_key("]")
    await page.until("location.search.includes('range=')")
    await page.type_key("?")
    await page.until("document.querySelector('#help').open")
    assert "from bar to bar" in await page.run("document.querySelector('#help').innerText")
    await page.click("#help input")
    await page.key("Escape", 27)
    await page.until("!document.querySelector('#help').open")
    await page.type_key("1")
    assert await page.run("location.search.includes('view=latency')")


async def test_light_and_dark_are_remembered(lived: World, page: Page) -> None:
    """The button turns the page dark at once and for the next visit, before anything is drawn."""
    await page.open(_url(lived), until=ready())
    light = await page.run("getComputedStyle(document.body).backgroundColor")
    await page.click("#theme")
    assert await page.run("getComputedStyle(document.body).backgroundColor") != light
    assert await page.run("document.querySelector('#theme').getAttribute('aria-pressed')") == "true"
    await page.open(_url(lived), until=ready())
    assert await page.run("getComputedStyle(document.body).backgroundColor") != light


async def test_the_url_keeps_what_is_shown(lived: World, page: Page) -> None:
    """Route, metric, group and range go into the URL and come back from it; Back undoes a step."""
    await page.open(_url(lived), until=ready())
    await page.run("(() => { const e = document.querySelector('#route'); e.value = 'assistant'; e.dispatchEvent(new Event('change')); })()")
    await page.until(f"{ready()} && location.search.includes('route=assistant')")
    await page.click("[data-focus=card-requests]")
    await page.until(f"{ready()} && location.search.includes('metric=requests')")
    await page.open(await page.run("location.href"), until=ready())
    assert await page.run("document.querySelector('#route').value") == "assistant"
    assert await page.run("document.querySelector('.card[aria-pressed=true] .card-title').textContent") == "Requests"
    assert "went to hosted models" in await page.run("document.querySelector('#view .headline').innerText")
    await page.open(_url(lived, "routes", "group=tag"), until=ready("routes"))
    assert "team=billing" in await page.run("document.querySelector('#routes').innerText")
    await page.click("[data-focus=group-backend]")
    await page.until(f"{ready('routes')} && location.search.includes('group=backend')")
    await page.run("history.back()")
    await page.until(f"{ready('routes')} && location.search.includes('group=tag')")


async def test_a_time_range_of_one_s_own(lived: World, page: Page) -> None:
    """From and to are chosen, kept in the URL, and shown."""
    await page.open(_url(lived), until=ready())
    await page.run("(() => { const e = document.querySelector('#range'); e.value = 'custom'; e.dispatchEvent(new Event('change')); })()")
    await page.run("document.querySelector('#since').value = '2026-11-23T06:00'; document.querySelector('#until').value = '2026-11-23T10:00'")
    await page.click("#apply")
    await page.until(f"{ready()} && location.search.includes('since=2026-11-2') && location.search.includes('until=2026-11-2')")
    assert " to " in await page.run("document.querySelector('.headline .when').innerText")


async def test_names_are_text_never_markup(lived: World, page: Page) -> None:
    """A route and a model named like an attack are shown as they are."""
    for view in ("overview", "latency", "routes", "exchanges"):
        await page.open(_url(lived, view), until=ready(view))
        assert HOSTILE in await page.run("document.querySelector('#view').innerText")
        assert await page.run("window.owned === undefined && document.querySelectorAll('img[src=x]').length === 0")


async def test_unknown_costs_are_said(lived: World, page: Page) -> None:
    """A request without a price is in no sum, the page says so, and its own cost is a dash, not a zero."""
    await page.open(_url(lived), until=ready())
    assert "1 requests of unknown cost are in no sum" in await page.run("document.querySelector('#foot').innerText")
    await page.open(f"{_url(lived, 'exchanges')}#req_x", until="document.querySelector('#detail[open] dl')")
    assert "–unknown price" in await page.run("document.querySelector('#detail dl').textContent")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
async def test_nothing_is_cut_off_and_all_text_can_be_read(aged: World, page: Page, width: int, height: int, dark: bool) -> None:
    """No sideways scrolling at laptop and phone width, and contrast of at least 4.5 to 1 for every piece of text, light and dark, in every view."""
    await page.screen(width, height, dark=dark, touch=width < 500)
    for view in VIEWS:
        await page.open(_url(aged, view, "range=90d"), until=ready(view))
        assert [view, await page.run("document.documentElement.scrollWidth")] == [view, width]
        assert [view, await page.run(CONTRAST)] == [view, []]
    await page.run("document.documentElement.style.setProperty('--muted', 'var(--line)')")
    assert await page.run(CONTRAST) != []  # the measure can see a text that is too faint


async def test_axe_finds_nothing_serious(aged: World, page: Page) -> None:
    """axe-core on each view with a year of data, light and dark, the dialogs too: no serious and no critical problem."""
    await page.send("Page.setBypassCSP", enabled=True)
    found = {}
    for dark in (False, True):
        await page.screen(1280, 900, dark=dark)
        for view in VIEWS:
            await page.open(_url(aged, view, "range=1y"), until=ready(view))
            found[f"{view} {dark}"] = await _axe(page)
        await page.open(_url(aged, "exchanges", "range=1y"), until=ready("exchanges"))
        await page.click("table.exchanges tbody button")
        await page.until("document.querySelector('#detail[open] dl')")
        found[f"detail {dark}"] = await _axe(page)
        await page.key("Escape", 27)
        await page.click("#help-button")
        found[f"help {dark}"] = await _axe(page)
    assert {name: problems for name, problems in found.items() if problems} == {}
    await page.run("document.querySelector('#range').removeAttribute('id')")
    await page.run("document.querySelector('#controls select').closest('label').replaceWith(document.querySelector('#controls select'))")
    await page.key("Escape", 27)
    assert [problem[0] for problem in await _axe(page)] == ["select-name"]  # axe is there, and sees a control without a name


async def _axe(page: Page) -> list[list[str]]:
    """[rule, element] of each serious problem."""
    spec = importlib.util.find_spec("axe_playwright_python")
    assert spec is not None, "axe-core is missing: pip install --no-deps -r deploy/requirements/browser.txt"
    assert spec.origin is not None
    if not await page.run("typeof window.axe === 'object'"):
        await page.run(f"{(Path(spec.origin).parent / 'axe.min.js').read_text()}; true")
    await page.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    problems: list[list[str]] = await page.run(
        "axe.run(document).then((r) => r.violations.filter((v) => ['serious', 'critical'].includes(v.impact))"
        ".flatMap((v) => v.nodes.map((n) => [v.id, n.html.slice(0, 120)])))"
    )
    return problems


async def test_everything_has_a_name(lived: World, page: Page) -> None:
    """What a screen reader lands on says what it is: controls, pictures, tables, regions."""
    for view in VIEWS:
        await page.open(_url(lived, view), until=ready(view))
        assert await page.run("[...document.querySelectorAll('table')].every((t) => t.caption)")
        assert await page.run("[...document.querySelectorAll('button, select, a')].every((e) => (e.textContent || e.labels?.[0]?.innerText || '').trim())")
        assert await page.run("[...document.querySelectorAll('#view svg:not([aria-hidden])')].every((e) => e.getAttribute('aria-label')?.length > 10)")
        assert await page.run(
            "[...document.querySelectorAll('#view section')].every((e) => e.hidden || !e.children.length || e.ariaLabel || e.getAttribute('aria-labelledby'))"
        )
        assert await page.run("document.querySelectorAll('h1').length === 1 && document.documentElement.lang === 'en'")
        assert await page.run("document.querySelector('#views [aria-current=page]').textContent.toLowerCase().replace(' it?', '')") == view


async def test_the_life_of_adapters_is_drawn_over_the_cost(aged: World, page: Page) -> None:
    """A year: every version's training, gate, canary, promotion, the roll-back, each in the picture and in the table."""
    await page.open(_url(aged, "adapters", "range=1y"), until=ready("adapters"))
    told = await page.run("document.querySelector('#view').innerText")
    assert all(
        word in told for word in ("trained", "gate passed", "canary", "live", "rolled back", "refused", "2300 examples", "refusals rose from 1 % to 6 %")
    )
    assert await page.run("document.querySelectorAll('svg.timeline .event').length") == await page.run("document.querySelectorAll('#view tbody tr').length")
    assert await page.run("document.querySelectorAll('svg.timeline .alive').length") == 5
    assert await page.run("document.querySelector('svg.timeline .curve').getAttribute('d').split('L').length") > 40


async def test_budgets_burn_down_and_engines_are_priced(aged: World, page: Page) -> None:
    """What is left of each budget and where it leads; what the GPU cost, who used it, and from which utilisation on it is cheaper than hosted."""
    await page.open(_url(aged, "budgets"), until=ready("budgets"))
    told = await page.run("document.querySelector('#view').innerText")
    assert all(
        word in told
        for word in ("support-triage route, per day", "support-triage route, per month", "team=sales tag, per month", "of $30.00", "Begins anew 1 Dec")
    )
    budgets = await page.run("fetch('/admin/budgets').then(r => r.json()).then(r => r.data.length)")
    assert await page.run("document.querySelectorAll('svg.plot .area').length") == budgets == 5
    await page.open(_url(aged, "local", "range=90d"), until=ready("local"))
    told = await page.run("document.querySelector('#view').innerText")
    wanted = ("GPU bill", "of the bill that no request used", "utilisation on, the engine's tokens cost less than gpt-4o's", "local/invoice-fields@1")
    assert [word for word in wanted if word not in told] == []
    assert await page.run("document.querySelectorAll('svg.plot .point').length") > 30
    bill = await page.run("fetch('/admin/costs?group_by=&since=2026-08-25&until=2026-11-23').then(r => r.json()).then(r => r.gpu_bill_nanousd)")
    assert bill > 0
    assert await page.run("document.querySelectorAll('svg.plot .curve').length") == 1


async def test_every_view_of_a_fresh_gateway_says_what_is_missing(tmp_path: Path, page: Page) -> None:
    """No view is blank or broken before the first request."""
    config = world.configure(tmp_path)
    with world.serve(config, world.fresh(config)) as made:
        for view in VIEWS:
            await page.open(_url(made, view), until=ready(view))
            assert [view, await page.run("document.querySelector('#problem').hidden && document.querySelector('#main').innerText.length > 40")] == [view, True]


async def test_a_gateway_that_does_not_answer_is_said(lived: World, page: Page) -> None:
    """The last numbers stay, a sentence says that they are old."""
    await page.open(_url(lived), until=ready())
    await page.send("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=-1, uploadThroughput=-1)
    await page.click("[data-focus=card-requests]")
    await page.until("!document.querySelector('#problem').hidden")
    assert "does not answer" in await page.run("document.querySelector('#problem').innerText")
    assert await page.run("document.querySelectorAll('.card').length") == 8
    page.problems.clear()  # the browser itself logs that it is offline


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
    await page.until(ready())
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
    await page.until(ready())
    with writing(locked.gateway.database) as conn:
        exchanges.insert(conn, [_hostile()])
    await page.until("document.querySelector('#view .headline')?.innerText.includes('The one request')")
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
