"""Pictures of a running gateway's dashboard: the views people ask about first, desktop and phone, light and dark.

Run as `python -m tests.gateway.dashboard.pictures http://127.0.0.1:8080 docs/images`; tests/gateway/dashboard/year.py serves one with a year behind it.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.gateway.dashboard.browser import browser


@dataclass(frozen=True, slots=True)
class Picture:
    """A file's name without its ending, what is shown, and on what. `height` None: the whole page."""

    name: str
    view: str
    query: str
    height: int | None = 900
    dark: bool = False
    width: int = 1280


PICTURES = (
    Picture("dashboard", "overview", "range=1y"),
    Picture("dashboard-dark", "routes", "range=90d&group=backend", dark=True),
    Picture("dashboard-phone", "overview", "range=30d", None, width=390),
    Picture("dashboard-local", "local", "range=90d"),
    Picture("dashboard-budgets", "budgets", "range=30d"),
    Picture("dashboard-adapters", "adapters", "range=1y", dark=True),
    Picture("dashboard-exchange", "exchanges", "range=1h"),
)


async def take(url: str, directory: Path) -> None:
    """One PNG for each picture."""
    directory.mkdir(parents=True, exist_ok=True)
    async with browser() as page:
        for picture in PICTURES:
            await page.screen(picture.width, picture.height or 844, dark=picture.dark, touch=picture.width < 600)
            address = f"{url.rstrip('/')}/dashboard?refresh=off&view={picture.view}&{picture.query}"
            await page.open(address, until=f"document.documentElement.dataset.ready === '{picture.view}'")
            if picture.name == "dashboard-exchange":
                await page.click("table.exchanges tbody button")
                await page.until("document.querySelector('#detail .flips')")
            # Charts measure their room when it is known, a frame or two after the page has its numbers.
            await page.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
            await page.picture(directory / f"{picture.name}.png", whole=picture.height is None)


if __name__ == "__main__":
    asyncio.run(take(sys.argv[1], Path(sys.argv[2])))
