"""Watch a market and liquidate accounts below maintenance margin for profit."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import click
from rich.console import Console
from rich.status import Status as Spinner

from prorata.ape_chain import OUTAGES, ApeChain
from prorata.cli import BadInput, Command, DecimalRange, exclusive, market_options, saved_market
from prorata.keeper import Keeper, NoMarket, Policy, Status, Summary, shown
from prorata.units import to_wad


def _wad(name: str, amount: Decimal) -> int:
    try:
        return to_wad(amount)
    except ValueError as error:
        raise BadInput(f"--{name}: {error}") from None


def _line(status: Status, keeper: Keeper) -> str:
    """The state of things in one line."""
    view, done = status.view, keeper.summary
    index = "refused" if view.index_price is None else shown(view.index_price)
    return " · ".join(
        (
            f"block {status.block}",
            f"mark {shown(view.core.mark)}",
            f"index {index}",
            view.mode,
            f"{status.positions} positions",
            f"{status.below} below maintenance, {status.worthwhile} worth it",
            f"own equity {shown(view.own.equity)}, position {shown(view.size(view.own))}",
            f"earned {shown(done.reward)} in {done.liquidations} liquidations",
        )
    )


def _closing_line(summary: Summary) -> str:
    return (
        f"passes {summary.passes}, settlements {summary.settlements}, liquidations {summary.liquidations}, "
        f"reward {shown(summary.reward)}, refused {summary.refused}, outages {summary.outages}"
    )


def _shower(console: Console, spinner: Spinner, keeper: Keeper) -> Callable[[Status], None]:
    """On a terminal one line that changes in place, elsewhere a line whenever something has changed."""
    last = ""

    def show(status: Status) -> None:
        nonlocal last
        line = _line(status, keeper)
        if console.is_terminal:
            spinner.update(line)
        elif line != last:
            console.print(line, highlight=False)
        last = line

    return show


@click.command(cls=Command)
@market_options
@click.option("--account", type=click.IntRange(0), default=1, show_default=True, help="Test account that pays.")
@click.option(
    "--from-block", type=click.IntRange(0), default=0, show_default=True, help="Read events from here; the deployment."
)
@click.option("--poll", type=DecimalRange("SECONDS", 0, 86_400), default="2", show_default=True, help="Between passes.")
@click.option("--once", is_flag=True, help="One pass, then exit.")
@click.option("--max-passes", type=click.IntRange(1), help="So many passes, then exit.")
@click.option(
    "--min-profit",
    type=DecimalRange("QUOTE", 0, 10**12),
    default="0.01",
    show_default=True,
    help="The least reward to move for.",
)
@click.option(
    "--leverage",
    type=DecimalRange("LEVERAGE", Decimal("0.01"), 1000),
    default="5",
    show_default=True,
    help="Of the own position at most; initial margin bounds it too.",
)
def cli(
    market: str | None,
    addresses: Path | None,
    account: int,
    from_block: int,
    poll: Decimal,
    once: bool,
    max_passes: int | None,
    min_profit: Decimal,
    leverage: Decimal,
) -> None:
    """Settle a market when its mark lags, and liquidate whoever is below maintenance margin. Ctrl-C ends it cleanly.

    Exit code 1 if the node answered in no pass at all, 2 for bad input.
    """
    exclusive(**{"once": once or None, "max-passes": max_passes})
    policy = Policy(account, _wad("leverage", leverage), _wad("min-profit", min_profit), from_block)
    address = saved_market(market, addresses)
    # Long lines stay whole in a file.
    console = Console(width=None if sys.stdout.isatty() else 250)

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False)

    keeper = _keeper(address, policy, say)
    say(f"account {account} ({keeper.address}) keeps the market {keeper.market.address} on {keeper.chain.network}")
    # Ape would exit at once; a supervisor's way to say Ctrl-C is SIGTERM.
    for asked_to_stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(asked_to_stop, signal.default_int_handler)
    try:
        with console.status("reading events") as spinner:
            keeper.run(float(poll), 1 if once else max_passes, _shower(console, spinner, keeper))
    except KeyboardInterrupt:
        say("stopped")
    say(_closing_line(keeper.summary))
    if 0 < keeper.summary.passes == keeper.summary.outages and (once or max_passes):
        sys.exit(1)


def _keeper(address: str, policy: Policy, say: Callable[[str], None]) -> Keeper:
    """A keeper on the connected network."""
    try:
        chain = ApeChain()
        if policy.from_block > chain.block:
            raise BadInput(f"--from-block {policy.from_block} is after the last block, {chain.block}")
        return Keeper(chain, address, policy, say, OUTAGES)
    except (NoMarket, ValueError) as error:
        raise BadInput(str(error)) from None
    except IndexError:
        raise BadInput(f"--account {policy.account}: the network has no such test account") from None
    except OUTAGES as error:
        raise click.ClickException(f"the node does not answer: {error}") from None
