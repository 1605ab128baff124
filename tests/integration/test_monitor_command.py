"""`ape run monitor` as a user runs and sees it: on a real Anvil that dies and comes back, in headless Chromium.

Pictures of what was seen go to `out/screenshots`.
"""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

import ape
import pytest
from click.testing import CliRunner
from playwright.sync_api import Browser, Locator, Page, expect

from prorata.ape_chain import ApeChain
from prorata.cli import BadInput
from prorata.exchange import Exchange
from prorata.receipts import receipts_in
from prorata.units import LONG, SHORT, WAD
from scripts.monitor import cli
from tests.crowd import populate
from tests.integration.anvil import NETWORK, PATIENCE, ROOT, Node, ape_run
from tests.integration.monitored import Monitor, monitor

PICTURES = ROOT / "out" / "screenshots"
MINUS = "\N{MINUS SIGN}"
NOWHERE = "0x" + "12" * 20
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 375, "height": 800}


class AnvilNode(Node):
    """A node whose state can be kept aside."""

    def restart(self, state: Path | None) -> None:
        """As the chain in a file; None: as a fresh one."""
        self.stop()
        self._state.unlink()
        if state is not None:
            shutil.copy(state, self._state)
        self.start()

    def keep(self, path: Path) -> Path:
        """Write the chain into a file; the node is started again."""
        self.stop()
        shutil.copy(self._state, path)
        self.start()
        return path


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnvilNode]:
    anvil = AnvilNode(tmp_path_factory.mktemp("anvil"))
    anvil.start()
    yield anvil
    anvil.stop()


@pytest.fixture(scope="module")
def exchange(node: AnvilNode) -> Iterator[Exchange]:
    """A market of six decimals with a crowd in it, seen from another process than the monitor's."""
    with ape.networks.parse_network_choice(NETWORK, provider_settings={"host": node.url}):
        market = Exchange.deploy(ApeChain(), 1_000 * WAD, decimals=6)
        populate(market)
        yield market


@pytest.fixture(scope="module")
def running(exchange: Exchange, node: AnvilNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitor]:
    with monitor(exchange.market.address, node, tmp_path_factory.mktemp("monitor"), "--poll", "0.1") as command:
        yield command


class Tab:
    """A page, and what it asked for and complained of."""

    def __init__(self, browser: Browser, url: str, viewport: dict[str, int]) -> None:
        self.page: Page = browser.new_page(viewport=viewport)  # type: ignore[arg-type]
        self.page.set_default_timeout(PATIENCE * 1000)
        self.complaints: list[str] = []
        self.hosts: set[str | None] = set()
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))
        self.page.goto(url)
        self.page.wait_for_selector("main:not([hidden])")

    def reaches(self, block: int) -> None:
        expect(self.page.locator("#block")).to_have_text(f"{block:,}", timeout=PATIENCE * 1000)

    def value(self, path: str) -> Decimal:
        """All digits of a figure."""
        return exact(self.page.locator(f"[data-value='{path}']"))

    def sides(self, name: str) -> list[Decimal]:
        """Of longs and shorts."""
        cells = self.page.locator(f"[data-side='{name}']").locator("xpath=..").locator("td")
        return [exact(cells.nth(side)) for side in (LONG, SHORT)]

    def point(self, label: str) -> Decimal:
        """A figure at the chosen price of the curve."""
        return exact(named(self.page.locator("#point"), label))

    def picture(self, name: str) -> None:
        PICTURES.mkdir(parents=True, exist_ok=True)
        self.page.evaluate("() => scrollTo(0, 0)")
        self.page.screenshot(path=PICTURES / f"monitor-{name}.png", full_page=True)


def exact(figure: Locator) -> Decimal:
    """What an amount's title says, which has all its digits."""
    title = figure.locator("span[title]").get_attribute("title") or ""
    return Decimal(title.split(" ")[0].replace(MINUS, "-").replace(",", ""))


def named(place: Locator, label: str) -> Locator:
    """The amount under a label."""
    return place.locator("div", has=place.page.get_by_text(label, exact=True)).locator("dd")


def wad(amount: int) -> Decimal:
    return Decimal(amount) / WAD


@pytest.fixture(scope="module")
def tab(browser: Browser, running: Monitor) -> Tab:
    return Tab(browser, running.url, DESKTOP)


@pytest.fixture(scope="module")
def phone(browser: Browser, running: Monitor) -> Tab:
    return Tab(browser, running.url, PHONE)


# In the order in which they stand: one market's life, with both tabs open all the time.


@pytest.mark.node
def test_it_shows_the_market(exchange: Exchange, tab: Tab, phone: Tab) -> None:
    for one in (tab, phone):
        one.reaches(exchange.chain.block)
        assert one.value("mark") == one.value("index") == 1_000
        assert one.sides("open_interest") == [wad(exchange.side(side).open_interest) for side in (LONG, SHORT)]
        assert one.value("insurance.assets") == wad(exchange.vault_held + exchange.insurance_owed)
        assert one.value("insurance.drawable") == one.value("insurance.assets") / 2
        assert one.page.locator("#mode").text_content() == "active"
        expect(one.page.locator("#banner")).to_have_text("")
    for side, trader in ((LONG, 2), (SHORT, 6)):
        owner = exchange.chain.address(trader)
        *_, closeout = exchange.chain.call(exchange.lens, "position", exchange.market.address, owner)
        assert tab.sides("next.price")[side] == wad(closeout)
        assert tab.sides("next.from_index")[side] == wad(closeout) - 1_000
    assert phone.page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.node
def test_it_follows_a_shock_and_shows_the_receipt(exchange: Exchange, tab: Tab, phone: Tab) -> None:
    exchange.set_price(780 * WAD)
    for one in (tab, phone):
        expect(one.page.locator("#mode")).to_have_text("catch-up")
        assert one.value("index") == 780
        assert min(one.sides("next.from_index")[LONG], 0) == 0  # past it already
    (receipt,) = receipts_in(exchange.settle().logs)
    assert receipt.socialized > 0
    for one in (tab, phone):
        one.reaches(exchange.chain.block)
        row = one.page.locator("#rows li.settlement")
        row.locator("summary").focus()
        one.page.keyboard.press("Enter")
        for label, amount in (
            ("gross: lost by longs", receipt.gross),
            ("deficit: not paid by closed accounts", receipt.deficit),
            ("covered by insurance", receipt.covered),
            ("socialized: winners go without", receipt.socialized),
            ("haircut of the winners' gain", 100 * receipt.haircut),
            ("size closed", receipt.closed_size),
        ):
            figure = named(row, label)
            expect(figure).to_be_visible()
            assert exact(figure) == wad(amount), label
        assert one.value("insurance.socialized") == wad(exchange.totals[0])
        assert one.page.locator("#rows li.draw").count() == 1
        # The plots have been drawn: three areas, the haircut, the prices.
        assert one.page.locator("#losses .scatterlayer .trace path.js-line").count() == 4
        assert one.page.locator("#past .scatterlayer .trace path.js-line").count() == 2
    tab.picture("desktop")
    phone.picture("phone")


@pytest.mark.node
def test_the_curve_can_be_read_by_keys_and_by_pointer(exchange: Exchange, tab: Tab) -> None:
    page = tab.page
    page.locator("#move").focus()
    for _ in range(22):
        page.keyboard.press("ArrowLeft")
    expect(page.locator("#move-to")).to_have_text(re.compile(f"^{MINUS}32 %, 530.4 quote per size: longs lose"))
    gross, deficit, covered, *_ = exchange.preview(780 * WAD * 68 // 100)
    assert deficit > 0
    assert tab.point("gross: lost by the losing side") == wad(gross)
    assert tab.point("deficit: what closed accounts cannot pay") == wad(deficit)
    assert tab.point("drawn from insurance") == wad(covered)
    assert tab.point("socialized: winners go without") == wad(deficit - covered)

    plot = page.locator("#losses .plot .bg, #losses .draglayer .nsewdrag").first
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.95, box["y"] + box["height"] * 0.5)
    expect(page.locator("#losses .hoverlayer")).to_contain_text("paid by losers")
    page.mouse.click(box["x"] + box["width"] * 0.95, box["y"] + box["height"] * 0.5)
    expect(page.locator("#move-to")).to_have_text(re.compile(r"^\+4\d %, .*: shorts lose"))

    assert page.locator("[data-side='scale'] + td span[title]").text_content() != "0.285714285714285714"
    page.locator("#exact").check()
    scale = wad(exchange.side(SHORT).scale)
    expect(page.locator("[data-side='scale'] + td span[title]")).to_have_text(f"{scale:f}".rstrip("0"))
    page.locator("#exact").uncheck()


@pytest.mark.node
def test_it_is_readable_in_the_dark(tab: Tab) -> None:
    def colours() -> Sequence[str]:
        return [
            tab.page.locator(place).first.evaluate(f"node => getComputedStyle(node).{what}")
            for place, what in (("body", "color"), ("section", "backgroundColor"), ("#losses .xtick text", "fill"))
        ]

    light = colours()
    tab.page.emulate_media(color_scheme="dark")
    expect(tab.page.locator("#losses .xtick text").first).not_to_have_css("fill", light[2])
    dark = colours()
    assert dark[0] == dark[2] != light[0]
    assert dark[1] != light[1]
    tab.picture("dark")
    tab.page.emulate_media(color_scheme="light")


@pytest.mark.node
def test_receipts_that_are_taken_back_go(exchange: Exchange, tab: Tab) -> None:
    block, rows = exchange.chain.block, tab.page.locator("#rows > li").count()
    with exchange.chain.anchor():
        exchange.set_price(700 * WAD)
        exchange.settle()
        expect(tab.page.locator("#rows > li")).to_have_count(rows + 1)
        assert tab.value("mark") == 700
    tab.reaches(block)
    expect(tab.page.locator("#rows > li")).to_have_count(rows)
    assert tab.value("mark") == 780


@pytest.mark.node
def test_it_outlives_its_node(
    exchange: Exchange, node: AnvilNode, tab: Tab, phone: Tab, running: Monitor, tmp_path: Path
) -> None:
    tabs = (tab, phone)
    assert [one.complaints for one in tabs] == [[], []]
    rows = tab.page.locator("#rows > li").count()
    node.stop()
    for one in tabs:
        expect(one.page.locator("#banner")).to_contain_text("Node unreachable")
        expect(one.page.locator("body")).to_have_class("stale")
        assert one.value("mark") == 780  # the last figures stay, and are marked as old
    tab.picture("unreachable")
    node.start()
    for one in tabs:
        expect(one.page.locator("#banner")).to_have_text("", timeout=PATIENCE * 1000)
        expect(one.page.locator("body")).not_to_have_class("stale")
    exchange.set_price(790 * WAD)
    for one in tabs:
        one.reaches(exchange.chain.block)
        assert one.value("index") == 790
        assert one.page.locator("#rows > li").count() == rows

    # Another chain, on which there is no market; and the first one again.
    kept = node.keep(tmp_path / "kept.json")
    node.restart(None)
    for one in tabs:
        words = f"has no market at {exchange.market.address}"
        expect(one.page.locator("#banner")).to_contain_text(words, timeout=PATIENCE * 1000)
        expect(one.page.locator("main")).to_be_hidden()
    tab.picture("no-market")
    node.restart(kept)
    for one in tabs:
        expect(one.page.locator("main")).to_be_visible(timeout=PATIENCE * 1000)
        one.reaches(exchange.chain.block)
        expect(one.page.locator("#rows > li")).to_have_count(rows)
    assert [one.complaints for one in tabs] == [[], []]
    assert running.process.poll() is None
    assert "Traceback" not in running.text


@pytest.mark.node
def test_it_stops_when_told_and_has_asked_nobody_else(tab: Tab, phone: Tab, running: Monitor) -> None:
    assert running.interrupt() == 0, running.text
    first, *_, last = running.text.splitlines()
    assert running.url in first
    assert last == "stopped"
    assert "Traceback" not in running.text
    for one in (tab, phone):
        expect(one.page.locator("#banner")).to_contain_text("The monitor does not answer", timeout=PATIENCE * 1000)
        assert one.hosts - {""} == {urlsplit(running.url).netloc}
        assert all("net::ERR_" in complaint for complaint in one.complaints)  # its own server is gone


@pytest.mark.node
def test_a_port_that_is_taken_is_one_line(exchange: Exchange, node: AnvilNode) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        options = ("--market", exchange.market.address, "--port", port, "--network", NETWORK)
        done = ape_run("monitor", *options, node=node)
    assert done.returncode == 2, done.stdout
    assert done.stderr.strip().count("\n") == 0, done.stderr
    assert f"--port {port}" in done.stderr


def test_no_market_is_one_line() -> None:
    done = ape_run("monitor", "--market", NOWHERE, "--network", "ethereum:local:test")
    assert done.returncode == 2, done.stdout
    assert done.stderr.strip().count("\n") == 0, done.stderr
    assert "no market at 0x1212" in done.stderr


@pytest.mark.parametrize("address", ["0x1234", "", "market"])
def test_an_address_that_is_none_is_refused_before_anything_is_asked(address: str) -> None:
    assert cli.callback is not None
    with pytest.raises(BadInput, match=f"'{address}' is not an address"):
        cli.callback(market=address, addresses=None, port=0, poll=Decimal(1))


@pytest.mark.parametrize("option", [("--port", "70000"), ("--port", "web"), ("--poll", "0"), ("--host", "0.0.0.0")])
def test_bad_options_are_one_line(option: Sequence[str]) -> None:
    done = CliRunner().invoke(cli, ["--market", NOWHERE, *option])
    assert done.exit_code == 2
    assert option[0] in done.output
    assert len(done.output.strip().splitlines()) == 1
