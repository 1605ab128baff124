"""The monitor's server: to whom it answers, with which headers, and what its tabs hear."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

import prorata.monitor
from prorata.monitor import server as module
from prorata.monitor.activity import KEPT, QUIET_KEPT
from prorata.monitor.curve import GRID
from prorata.monitor.server import LOOPBACK, Server

Test = Callable[[aiohttp.ClientSession, Server], Coroutine[Any, Any, None]]


def served(test: Test) -> None:
    """Run a coroutine beside a server without a watcher."""

    async def run() -> None:
        server = Server(lambda publish, stop: None)
        running = TestServer(server.application(), host=LOOPBACK)
        async with running, aiohttp.ClientSession(running.make_url("/")) as session:
            await test(session, server)

    asyncio.run(asyncio.wait_for(run(), 20))


class Tab:
    """A tab's ear: events one by one, of any length."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response, self._text = response, b""

    async def hears(self) -> tuple[str, Any]:
        """The next event: its name and content."""
        while b"\n\n" not in self._text:
            self._text += await self._response.content.readany()
        event, self._text = self._text.split(b"\n\n", 1)
        name, content = event.decode().split("\n")
        return name.removeprefix("event: "), json.loads(content.removeprefix("data: "))


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/", "text/html"), ("/page.js", "text/javascript"), ("/page.css", "text/css"), ("/plotly.js", "text/javascript")],
)
def test_files_come_with_a_policy_that_knows_no_other_host(path: str, kind: str) -> None:
    async def test(session: aiohttp.ClientSession, server: Server) -> None:
        async with session.get(path) as response:
            assert response.status == 200
            assert response.content_type == kind
            policy = dict(part.strip().split(" ", 1) for part in response.headers["Content-Security-Policy"].split(";"))
            assert policy["default-src"] == "'none'"
            assert policy["script-src"] == "'self'"
            assert policy["connect-src"] == "'self'"
            assert policy["frame-ancestors"] == "'none'"
            assert not re.search(r"https?:|\*|unsafe-eval", " ".join(policy.values()))
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"

    served(test)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:99", "[::1]:80", "127.0.0.1:65535"])
def test_names_of_this_machine_are_answered(host: str) -> None:
    async def test(session: aiohttp.ClientSession, server: Server) -> None:
        async with session.get("/", headers={"Host": host}) as response:
            assert response.status == 200

    served(test)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "example.org",
        "127.0.0.1.example.org",
        "localhost.example.org:80",
        "10.0.0.1",
        "0.0.0.0",
        "localhost:x",
        ":80",
    ],
)
@pytest.mark.parametrize("path", ["/", "/events", "/none"])
def test_any_other_name_is_refused(host: str, path: str) -> None:
    async def test(session: aiohttp.ClientSession, server: Server) -> None:
        async with session.get(path, headers={"Host": host}) as response:
            assert response.status == 403
            assert "Content-Security-Policy" in response.headers

    served(test)


def test_whoever_names_nobody_is_refused() -> None:
    async def test(session: aiohttp.ClientSession, server: Server) -> None:
        base = session._base_url
        assert base is not None
        reader, writer = await asyncio.open_connection(LOOPBACK, base.port)
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        assert (await reader.readline()).split()[1] == b"403"
        writer.close()

    served(test)


@pytest.mark.parametrize(("site", "status"), [("cross-site", 403), ("same-site", 403), ("same-origin", 200)])
def test_other_sites_pages_may_not_listen(site: str, status: int) -> None:
    async def test(session: aiohttp.ClientSession, server: Server) -> None:
        async with session.get("/events", headers={"Sec-Fetch-Site": site}) as response:
            assert response.status == status

    served(test)


def test_nothing_can_be_posted_and_nothing_else_is_there() -> None:
    async def test(session: aiohttp.ClientSession, server: Server) -> None:
        for method in ("POST", "HEAD", "OPTIONS"):
            async with session.request(method, "/events") as response:
                assert response.status == 405
        for path in ("/server.py", "/../scripts/monitor.py", "/%2e%2e/server.py", "/page.html"):
            async with session.get(path) as response:
                assert response.status == 404

    served(test)


def test_a_tab_hears_the_latest_at_once_and_then_what_is_new() -> None:
    async def test(session: aiohttp.ClientSession, server: Server) -> None:
        for number in range(3):
            server._feed.publish("view", json.dumps(number))
        server._feed.publish("status", '"live"')
        async with session.get("/events") as response:
            assert response.content_type == "text/event-stream"
            tab = Tab(response)
            assert [await tab.hears(), await tab.hears()] == [("view", 2), ("status", "live")]
            server._feed.publish("view", "3")
            assert await tab.hears() == ("view", 3)

    served(test)


def test_a_slow_tab_holds_up_nobody_and_skips_what_it_missed() -> None:
    async def test(session: aiohttp.ClientSession, server: Server) -> None:
        async with session.get("/events") as first, session.get("/events") as second:
            slow, quick = Tab(first), Tab(second)
            for number in range(200):
                server._feed.publish("view", json.dumps([number, "x" * 100_000]))
                _, (got, _) = await quick.hears()
                assert got == number
            assert len(server._feed._latest) == 1
            seen = []
            while not seen or seen[-1] != 199:
                _, (got, _) = await slow.hears()
                seen.append(got)
            assert len(seen) < 150

    served(test)


def test_a_tab_that_takes_nothing_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.2)

    async def test(session: aiohttp.ClientSession, server: Server) -> None:
        async with session.get("/events"):
            for _ in range(400):
                server._feed.publish("view", json.dumps("x" * 1_000_000))
                await asyncio.sleep(0.01)
                if not server._tabs:
                    break
            assert server._tabs == 0

    served(test)


def test_closed_tabs_are_forgotten_and_there_is_a_limit_to_open_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TABS", 2)

    async def test(session: aiohttp.ClientSession, server: Server) -> None:
        tabs = [await session.get("/events") for _ in range(2)]
        async with session.get("/events") as third:
            assert third.status == 503
        for tab in tabs:
            tab.close()
        for number in range(500):
            if not server._tabs:
                break
            server._feed.publish("status", json.dumps(number))
            await asyncio.sleep(0.01)
        assert server._tabs == 0

    served(test)


def test_it_listens_on_the_loopback_alone_and_a_failing_watcher_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = []
    original = web.TCPSite.__init__

    def noted(site: web.TCPSite, runner: web.BaseRunner, host: str | None = None, *others: Any, **more: Any) -> None:
        hosts.append(host)
        original(site, runner, host, *others, **more)

    monkeypatch.setattr(web.TCPSite, "__init__", noted)

    def work(publish: Callable[[str, Any], None], stop: threading.Event) -> None:
        raise ArithmeticError("a fault")

    urls: list[str] = []
    with pytest.raises(ArithmeticError, match="a fault"):
        asyncio.run(Server(work).serve(0, urls.append))
    assert hosts == ["127.0.0.1"]
    assert re.fullmatch(r"http://127\.0\.0\.1:[1-9]\d*/", urls[0])


def test_a_port_that_is_taken_is_an_error() -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            asyncio.run(Server(lambda publish, stop: None).serve(taken.getsockname()[1], print))


def test_the_page_says_how_much_it_keeps() -> None:
    text = " ".join((Path(prorata.monitor.__file__).parent / "page.html").read_text().split())
    assert f"the list keeps the last {KEPT}, and {QUIET_KEPT} moves" in text
    assert f"from \N{MINUS SIGN}{-GRID[0]} % to +{GRID[-1]} %" in text


def test_the_page_itself_names_no_other_host() -> None:
    folder = Path(prorata.monitor.__file__).parent
    for name in ("page.html", "page.js", "page.css"):
        assert not re.search(r"(https?:)?//[\w.-]+\.\w", (folder / name).read_text()), name
    assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|\beval\b", (folder / "page.js").read_text())
