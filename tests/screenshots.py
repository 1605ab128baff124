"""Pictures of the pages that this repository writes and serves, in a real browser: `python -m tests.screenshots`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import ape
import click
from PIL import Image
from playwright.sync_api import expect

from prorata.ape_chain import ApeChain
from prorata.exchange import Exchange
from prorata.units import WAD
from tests.browser import chromium
from tests.crowd import populate
from tests.integration.anvil import NETWORK, Node
from tests.integration.monitored import monitor

ROOT = Path(__file__).parent.parent
SWEEP = ROOT / "out" / "sweep" / "index.html"
#: Bytes of a picture that a reader of the README has to load.
LARGEST = 300_000


def take_sweep(target: Path) -> None:
    """The top of a sweep's page, down to the end of its first plot; of the sweep that `make sweep` writes."""
    if not SWEEP.exists():
        raise click.ClickException(f"{SWEEP.relative_to(ROOT)} is not there: make sweep writes it")
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1100, "height": 900})
        page.goto(SWEEP.as_uri())
        page.locator("#shortfall_plot .main-svg").first.wait_for()
        end = page.locator("#shortfall_plot").bounding_box()
        assert end is not None  # it is there
        page.screenshot(
            path=target, full_page=True, clip={"x": 0, "y": 0, "width": 1100, "height": end["y"] + end["height"]}
        )


def take_monitor(target: Path) -> None:
    """The monitor after a small crash whose deficit insurance has paid; the index has moved on already."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        node = Node(folder)
        node.start()
        try:
            with ape.networks.parse_network_choice(NETWORK, provider_settings={"host": node.url}):
                exchange = Exchange.deploy(ApeChain(), 1_000 * WAD)
                populate(exchange)
                with monitor(exchange.market.address, node, folder) as running, chromium() as browser:
                    page = browser.new_page(viewport={"width": 1200, "height": 900})
                    page.goto(running.url)

                    def shown() -> None:
                        """Wait for the last block, so that the picture has all of them every time."""
                        expect(page.locator("#block")).to_have_text(f"{exchange.chain.block:,}")

                    for price in (1_004, 992, 985, 990, 971, 925, 931):
                        exchange.set_price(price * WAD)
                        shown()
                        exchange.settle()
                        shown()
                    exchange.set_price(924 * WAD)
                    shown()
                    page.locator("#rows li.settlement summary").first.click()
                    page.evaluate("() => scrollTo(0, 0)")
                    page.screenshot(path=target, full_page=True)
        finally:
            node.stop()


#: By name: what takes the picture, and where it goes.
PICTURES: dict[str, tuple[Callable[[Path], None], str]] = {
    "sweep": (take_sweep, "docs/sweep-page.png"),
    "monitor": (take_monitor, "docs/monitor.png"),
}


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(tuple(PICTURES)))
def main(names: tuple[str, ...]) -> None:
    """Take the named pictures; all, if none is named."""
    for name in names or PICTURES:
        take, target = PICTURES[name]
        file = ROOT / target
        take(file)
        # A page has few colours: a palette takes half the room and looks the same.
        Image.open(file).convert("RGB").quantize(256).save(file, optimize=True)
        if file.stat().st_size > LARGEST:
            raise click.ClickException(f"{target}: {file.stat().st_size:,} bytes are more than {LARGEST:,}")
        click.echo(f"wrote {target}")


if __name__ == "__main__":
    main()
