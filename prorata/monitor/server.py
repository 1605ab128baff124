"""Serves the monitor's page on this machine and nowhere else, and tells it what the watcher found.

Whoever opens the page gets the latest view at once and then, as server-sent events, whatever is new. Nothing is queued:
a tab that reads slowly is told the latest thing when it is ready for it, and holds up nobody.
"""

from __future__ import annotations

import asyncio
import json
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import plotly
from aiohttp import web

#: The only address it listens on.
LOOPBACK = "127.0.0.1"
#: Names a browser may know this machine by. Any other is of somebody who made a name point here (DNS rebinding).
NAMES = (LOOPBACK, "localhost", "[::1]")
#: Tabs served at once, and seconds a tab may take for one message before it is dropped; it may come again.
MAX_TABS, PATIENCE = 64, 30.0
#: The page loads nothing from anywhere else. Inline styles are plotly's, which puts its own into the page; there is no
#: inline script and no text that becomes markup.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
_FOLDER = Path(__file__).parent
#: By path: the file and what it is. Plotly's code comes from its locked Python package.
_FILES = {
    "/": (_FOLDER / "page.html", "text/html"),
    "/page.js": (_FOLDER / "page.js", "text/javascript"),
    "/page.css": (_FOLDER / "page.css", "text/css"),
    "/plotly.js": (Path(plotly.__file__).parent / "package_data" / "plotly.min.js", "text/javascript"),
}
#: Takes a function that publishes, and a flag to stop at; runs until then.
Work = Callable[[Callable[[str, Any], None], threading.Event], None]


class Feed:
    """The latest message of each name. All of it belongs to the event loop."""

    def __init__(self) -> None:
        self._latest: dict[str, tuple[int, bytes]] = {}
        self._count = 0
        self._news = asyncio.Event()

    def publish(self, name: str, content: str) -> None:
        """Replace the message of a name, which has one line, and wake whoever waits."""
        self._count += 1
        self._latest[name] = self._count, f"event: {name}\ndata: {content}\n\n".encode()
        self._news.set()
        self._news = asyncio.Event()

    async def after(self, seen: int) -> tuple[int, bytes]:
        """What is newer than the message of a number, once anything is, and the number of the newest."""
        while seen == self._count:
            await self._news.wait()
        fresh = sorted(one for one in self._latest.values() if one[0] > seen)
        return self._count, b"".join(message for _, message in fresh)


class Server:
    """The page and its feed.

    Args:
        work: what publishes.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self._feed = Feed()
        self._tabs = 0

    def application(self) -> web.Application:
        """The page, its files and `/events`."""
        application = web.Application(middlewares=[_for_this_machine])
        application.on_response_prepare.append(_with_headers)
        for path in _FILES:
            application.router.add_get(path, _file)
        application.router.add_get("/events", self._events, allow_head=False)
        return application

    async def serve(self, port: int, ready: Callable[[str], None]) -> None:
        """Serve until SIGINT or SIGTERM.

        Args:
            port: 0 takes a free one.
            ready: told the page's address.

        Raises:
            OSError: the port is taken.
            whatever the work raised, if it ended by that.
        """
        runner = web.AppRunner(self.application(), access_log=None, handler_cancellation=True, shutdown_timeout=0.5)
        await runner.setup()
        loop, asked, stop = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
        try:
            await web.TCPSite(runner, LOOPBACK, port).start()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, asked.set)
            ready(f"http://{LOOPBACK}:{runner.addresses[0][1]}/")
            ended = self._started(stop)
            ended.add_done_callback(lambda _: asked.set())
            await asked.wait()
            if ended.done():
                ended.result()
        finally:
            stop.set()
            await runner.cleanup()

    def _started(self, stop: threading.Event) -> asyncio.Future[None]:
        """The work in a thread of its own, which may wait for a node longer than anybody waits for this command."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()

        def soon(do: Callable[..., None], *arguments: Any) -> None:
            if not stop.is_set():
                loop.call_soon_threadsafe(do, *arguments)

        def body() -> None:
            try:
                self._work(lambda name, content: soon(self._feed.publish, name, json.dumps(content)), stop)
                soon(ended.set_result, None)
            except Exception as error:
                soon(ended.set_exception, error)

        threading.Thread(target=body, name="watcher", daemon=True).start()
        return ended

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events, for as long as the tab listens."""
        # Another site's page could not read them, but use up all tabs.
        if request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
            raise web.HTTPForbidden(text="only this page may listen\n")
        if self._tabs >= MAX_TABS:
            raise web.HTTPServiceUnavailable(text="too many tabs")
        self._tabs += 1
        try:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            seen = 0
            while True:
                seen, news = await self._feed.after(seen)
                await asyncio.wait_for(response.write(news), PATIENCE)
        except (ConnectionError, TimeoutError):
            return response
        finally:
            self._tabs -= 1


@web.middleware
async def _for_this_machine(request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
    """Refuse whoever asks for this machine by a name that is not its own."""
    names = request.headers.getall("Host", [])
    if len(names) != 1 or names[0].lower().removesuffix(_port(names[0])) not in NAMES:
        raise web.HTTPForbidden(text="this page is served on the loopback interface only\n")
    response: web.StreamResponse = await handler(request)
    return response


def _port(host: str) -> str:
    """The `:port` at a Host header's end, or nothing."""
    name, colon, port = host.rpartition(":")
    return colon + port if name and port.isdigit() else ""


async def _with_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)


async def _file(request: web.Request) -> web.StreamResponse:
    file, kind = _FILES[request.path]
    return web.FileResponse(file, headers={"Content-Type": f"{kind}; charset=utf-8"})
