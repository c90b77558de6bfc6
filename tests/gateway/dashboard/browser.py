"""A real Chromium, driven over its own debugging protocol: enough to open a page, look, click, type and take a picture.

Finds `chromium`, `chromium-browser`, `google-chrome` or $CHROMIUM; without one it fails and says what to install. Traffic stays on this machine.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--disable-dev-shm-usage", "--disable-default-apps", "--disable-extensions", "--mute-audio", "--hide-scrollbars"),
    *("--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost", "--remote-debugging-port=0", "about:blank"),
)


def chromium() -> str:
    """The browser's path."""
    for name in (os.environ.get("CHROMIUM", ""), *_NAMES):
        found = shutil.which(name) if name else None
        if found:
            return found
    raise AssertionError("these tests need a Chromium: apt-get install -y chromium, or set CHROMIUM to one")


class Page:
    """One tab. `problems` collects what the page logged as an error, and requests that failed."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.problems: list[str] = []
        self._socket = socket
        self._number = 0
        self._metrics: dict[str, Any] = {"width": 1280, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._loaded = asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    async def open(self, url: str, *, until: str | None = None) -> None:
        """Go to a page and wait until it is loaded, and then until the script `until` says true."""
        self._loaded.clear()
        await self.send("Page.navigate", url=url)
        await asyncio.wait_for(self._loaded.wait(), 60)
        if until is not None:
            await self.until(until)

    async def screen(self, width: int, height: int, *, dark: bool = False, touch: bool = False) -> None:
        """Take the size of a device, and its preference for light or dark."""
        self._metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": touch}
        await self.send("Emulation.setDeviceMetricsOverride", **self._metrics)
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}, {"name": "prefers-reduced-motion", "value": "reduce"}]
        await self.send("Emulation.setEmulatedMedia", features=features)

    async def run(self, script: str) -> Any:
        """The value of an expression (promises are awaited). AssertionError when it throws."""
        answer = await self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise AssertionError(f"{script}: {answer['exceptionDetails'].get('exception', {}).get('description')}")
        # A page that goes elsewhere meanwhile answers nothing.
        assert "result" in answer, f"{script}: the page left before it answered"
        return answer["result"].get("value")

    async def until(self, script: str, seconds: float = 40) -> None:
        """Wait until an expression is true."""
        for _ in range(int(seconds * 20)):
            with contextlib.suppress(AssertionError):
                if await self.run(f"Boolean({script})"):
                    return
            await asyncio.sleep(0.05)
        raise AssertionError(f"never became true: {script}; the page says: {await self.run('document.body.innerText.slice(0, 600)')}")

    async def click(self, selector: str) -> None:
        """Click in the middle of an element, as a mouse does."""
        script = f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: 'center'}}); "
        box = await self.run(script + "const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()")
        for kind in ("mousePressed", "mouseReleased"):
            await self.send("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    async def key(self, name: str, code: int) -> None:
        """Press a key: its name and its Windows key code (Tab 9, Enter 13, Escape 27, ArrowLeft 37, ArrowRight 39)."""
        text = {"text": "\r"} if name == "Enter" else {}
        await self.send("Input.dispatchKeyEvent", type="keyDown", key=name, code=name, windowsVirtualKeyCode=code, **text)
        await self.send("Input.dispatchKeyEvent", type="keyUp", key=name, code=name, windowsVirtualKeyCode=code)

    async def type_key(self, character: str) -> None:
        """Press the key of one character, as a person types it."""
        await self.send("Input.dispatchKeyEvent", type="keyDown", key=character, text=character)
        await self.send("Input.dispatchKeyEvent", type="keyUp", key=character)

    async def type(self, text: str) -> None:
        """Type into what has the focus."""
        await self.send("Input.insertText", text=text)

    async def picture(self, path: Path, *, whole: bool = True) -> None:
        """A PNG of the window, or of the whole page."""
        if whole:
            # The window is made as high as the page: capturing beyond the viewport leaves the page scrolled elsewhere than it believes.
            height = await self.run("document.documentElement.scrollHeight")
            await self._resize(height)
        answer = await self.send("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(answer["data"]))
        if whole:
            await self._resize(self._metrics["height"])

    async def _resize(self, height: int) -> None:
        await self.send("Emulation.setDeviceMetricsOverride", **(self._metrics | {"height": height}))
        await self.until(f"innerHeight === {height}")
        await self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    async def send(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the debugging protocol."""
        self._number += 1
        future = self._answers[self._number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": self._number, "method": method, "params": params})
        return await asyncio.wait_for(future, 60)

    async def close(self) -> None:
        """Stop listening."""
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

    async def _read(self) -> None:
        async for message in self._socket:
            event = json.loads(message.data)
            if "id" in event:
                future = self._answers.pop(event["id"])
                if not future.done():
                    future.set_result(event.get("result", {}))
            elif event["method"] == "Page.loadEventFired":
                self._loaded.set()
            else:
                self._note(event["method"], event.get("params", {}))

    def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.problems.append(params["exceptionDetails"].get("exception", {}).get("description", "an exception"))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.problems.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif method == "Runtime.consoleAPICalled" and params["type"] == "error":
            self.problems.append(" ".join(str(arg.get("value", arg.get("description"))) for arg in params["args"]))


@asynccontextmanager
async def browser() -> AsyncIterator[Page]:
    """A fresh browser with one tab, for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="chromium", ignore_cleanup_errors=True) as profile:
        command = [chromium(), *_FLAGS[:-1], f"--user-data-dir={profile}", _FLAGS[-1]]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            async with aiohttp.ClientSession() as session, session.ws_connect(await _tab(session, Path(profile)), max_msg_size=0) as socket:
                page = Page(socket)
                for domain in ("Page", "Runtime", "Log", "Network"):
                    await page.send(f"{domain}.enable")
                yield page
                await page.close()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


async def _tab(session: aiohttp.ClientSession, profile: Path) -> str:
    """The debugging address of the first tab."""
    file = profile / "DevToolsActivePort"
    for _ in range(1200):
        if file.exists() and (lines := file.read_text().splitlines()):
            async with session.get(f"http://127.0.0.1:{lines[0]}/json/list") as answer:
                tabs = [tab for tab in await answer.json(content_type=None) if tab["type"] == "page"]
            if tabs:
                return str(tabs[0]["webSocketDebuggerUrl"])
        await asyncio.sleep(0.05)
    raise AssertionError("the browser did not start within a minute")
