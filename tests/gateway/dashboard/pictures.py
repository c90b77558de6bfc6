"""Pictures of a running gateway's dashboard, desktop and phone, light and dark.

Run as `python -m tests.gateway.dashboard.pictures http://127.0.0.1:8080 docs/images`.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.gateway.dashboard.browser import browser

_SIZES = (("dashboard", 1280, 900, False), ("dashboard-dark", 1280, 900, True), ("dashboard-phone", 390, 844, False))


async def take(url: str, directory: Path) -> None:
    """One PNG for each size."""
    directory.mkdir(parents=True, exist_ok=True)
    async with browser() as page:
        for name, width, height, dark in _SIZES:
            await page.screen(width, height, dark=dark, touch=width < 600)
            await page.open(f"{url.rstrip('/')}/dashboard", until="document.querySelector('svg rect') !== null")
            await page.picture(directory / f"{name}.png", whole=width < 600)


if __name__ == "__main__":
    asyncio.run(take(sys.argv[1], Path(sys.argv[2])))
