"""How long an audit of a long log takes, and how much memory: python -m tests.invariant.long_log --events 100000.

One market of many traders on pyrevm: fills, deposits, withdrawals, moves that close some, liquidations. Then two audits
of its log, one against the clock, and one of its second half from a checkpoint, with every allocation traced.
"""

from __future__ import annotations

import random
import tempfile
import time
import tracemalloc
from contextlib import suppress
from pathlib import Path

import click

from prorata.audit.auditor import Auditor
from prorata.chain import Reverted
from prorata.exchange import Exchange
from prorata.parameters import MarketParameters
from prorata.revm_chain import RevmChain
from prorata.units import LONG, WAD

MARK = 1_000 * WAD


class Crowd:
    """A market with so many traders, who go on for as long as they are asked.

    Args:
        traders: test accounts.
        seed: of everything that is drawn.
    """

    def __init__(self, traders: int, seed: int) -> None:
        self.rng = random.Random(seed)
        self.chain = RevmChain()
        parameters = MarketParameters(max_staleness=10**9, max_funding=WAD // 400)
        self.exchange = Exchange.deploy(self.chain, MARK, parameters, decimals=6)
        self.traders = range(1, traders + 1)
        self.price = MARK
        for trader in (0, *self.traders):
            self.exchange.fund(trader)
        self.exchange.approve(0, self.exchange.vault)
        self.exchange.insure(0, 10**6 * WAD)
        for trader in self.traders:
            self.deposit(trader)

    def deposit(self, trader: int) -> None:
        self.exchange.deposit(trader, self.rng.randint(100, 10_000) * WAD)

    def liquidate(self, keeper: int) -> None:
        """Whoever refuses, as most do, is one of the thinnest of some."""
        some = self.rng.sample(self.traders, min(20, len(self.traders)))
        held = {trader: self.exchange.account(trader) for trader in some if trader != keeper}
        open_ones = [trader for trader in held if held[trader].shares]
        for trader in sorted(open_ones, key=lambda one: held[one].equity / held[one].shares)[:3]:
            with suppress(Reverted):
                self.exchange.liquidate(keeper, trader)

    def step(self) -> None:
        """One operation; it may be refused."""
        maker, taker = self.rng.sample(self.traders, 2)
        chance = self.rng.random()
        with suppress(Reverted):
            if chance < 0.6:
                size = self.exchange.account(maker).equity * self.rng.randint(1, 40) // 10 * WAD // self.price
                self.exchange.trade(maker, taker, self.rng.random() < 0.5, size, self.price)
            elif chance < 0.75:
                self.deposit(maker)
            elif chance < 0.8:
                units = self.exchange.account(maker).equity // 20 // self.exchange.unit
                self.exchange.withdraw(maker, units * self.exchange.unit)
            elif chance < 0.85:
                self.liquidate(maker)
            else:
                # Back to where it began sooner or later.
                drift = (MARK - self.price) / MARK / 20
                self.price = int(self.price * (1 + self.rng.gauss(drift, 0.015)))
                self.exchange.set_price(self.price)
                self.exchange.settle()


def audit(crowd: Crowd, folder: Path, to_block: int | None = None) -> Auditor:
    auditor = Auditor(crowd.chain, crowd.exchange.market.address, folder, to_block=to_block)
    auditor.run()
    auditor.close()
    return auditor


@click.command()
@click.option("--events", type=click.IntRange(1_000), default=100_000, show_default=True)
@click.option("--traders", type=click.IntRange(2, 5_000), default=60, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
def main(events: int, traders: int, seed: int) -> None:
    """Make a long log and audit it."""
    crowd, made = Crowd(traders, seed), 0
    counted = crowd.chain.block
    with click.progressbar(length=events, label="making the log") as bar:
        while made < events:
            for _ in range(500):
                crowd.step()
            new = len(crowd.chain.entries(counted + 1, crowd.chain.block))
            counted, made = crowd.chain.block, made + new
            bar.update(new)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = time.perf_counter()
        found = audit(crowd, folder / "whole")
        took = time.perf_counter() - start
        assert found.books is not None
        audit(crowd, folder / "half", crowd.chain.block // 2)
        tracemalloc.start()
        audit(crowd, folder / "half")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        totals, summary = found.books.totals, found.summary
        open_interest = found.books.sides[LONG].open_interest / WAD
        click.echo(
            f"seed {seed}: {summary.events:,} events of {summary.transactions:,} transactions, {totals.moves:,} moves, "
            f"{totals.accounts_closed:,} accounts closed, {totals.liquidations:,} liquidations, "
            f"{totals.epochs} epochs, {len(found.books.holders):,} accounts, open interest {open_interest:,.1f}\n"
            f"{summary.findings} differences; {took:.1f} s, {summary.events / took:,.0f} events/s; "
            f"peak of the second half {peak / 2**20:.1f} MiB; checkpoint "
            f"{(folder / 'whole' / 'checkpoint.json').stat().st_size / 2**10:.0f} KiB"
        )
        for finding in summary.shown:
            click.echo(f"{finding.where.block} {finding.guarantee} {finding.rule}: {finding.text}")


if __name__ == "__main__":
    main()
