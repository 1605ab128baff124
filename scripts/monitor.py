"""Serve a page on this machine that shows one market as its blocks arrive."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from prorata.ape_chain import OUTAGES, ApeChain
from prorata.cli import BadInput, Command, DecimalRange, market_options, saved_market
from prorata.keeper import NoMarket
from prorata.monitor.server import Server
from prorata.monitor.snapshot import Contracts
from prorata.monitor.watcher import Watcher


@click.command(cls=Command)
@market_options
@click.option("--port", type=click.IntRange(0, 65_535), default=0, help="Of the page.  [default: a free one]")
@click.option(
    "--poll",
    type=DecimalRange("SECONDS", Decimal("0.05"), 3_600),
    default="0.5",
    show_default=True,
    help="Between questions for a new block.",
)
def cli(market: str | None, addresses: Path | None, port: int, poll: Decimal) -> None:
    """Serve a page that shows a market: prices, loss curve, next buckets, insurance, receipts. Ctrl-C ends it cleanly.

    The page is served to this machine alone, on 127.0.0.1, and asks no other for anything. It only reads.
    Exit code 2 for bad input.
    """
    address = saved_market(market, addresses)
    # Long lines stay whole in a file.
    console = Console(width=None if sys.stdout.isatty() else 250)

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    chain = _chain(address)

    def work(publish: Callable[[str, Any], None], stop: threading.Event) -> None:
        Watcher(chain, address, publish, OUTAGES).run(float(poll), stop)

    try:
        asyncio.run(Server(work).serve(port, lambda url: say(f"market {address} on {chain.network}: {url}")))
    except OSError as error:
        raise BadInput(f"--port {port}: {error.strerror or error}") from None
    say("stopped")


def _chain(address: str) -> ApeChain:
    """The connected network, once the market was found on it."""
    try:
        chain = ApeChain(first_second=0)
        Contracts.find(chain, address)
        return chain
    except (NoMarket, ValueError) as error:
        raise BadInput(str(error)) from None
    except OUTAGES as error:
        raise click.ClickException(f"the node does not answer: {error}") from None
