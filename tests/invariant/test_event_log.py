"""Whatever happens to a market, its event log alone reproduces every balance to the wei (design §10).

Random operations on the contracts, and after each of them the ledger against every view. `PRORATA_SEED` sets the seed;
every run names its own in the test's id.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import astuple
from typing import Any

from prorata.chain import Log, Reverted
from prorata.exchange import Exchange
from prorata.ledger import Ledger
from prorata.parameters import MarketParameters, VaultParameters
from prorata.revm_chain import RevmChain
from prorata.units import LONG, SHORT, WAD

SEED = int(os.environ.get("PRORATA_SEED", "1"))
RUNS, STEPS, TRADERS = 24, 80, 6
MARK = 1000 * WAD
#: Two small moves for each shock.
FACTORS = (*range(970, 1031, 3), *range(700, 1400, 70), 500, 989, 1011, 1800)

#: What all runs together must come across, or they prove less than they say.
RARE = {
    "Traded": 100,
    "Liquidated": 20,
    "BucketClosed": 30,
    "Covered": 10,
    "EpochEnded": 5,
    "Swept": 4,
    "Closed": 1,
    "funding moves": 100,
    "stopped moves": 3,
    "socialized": 10,
    "shortfall": 5,
    "catch-up": 100,
    "two levels": 100,
}


class Run:
    """A market and its ledger, one random operation after the other.

    Args:
        seed: of everything that is drawn.
        fixed: parameters of the market that are not.
    """

    def __init__(self, seed: int, **fixed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.chain = RevmChain()
        parameters = {
            "max_buckets": rng.choice([1, 2, 128]),
            "max_price_step": rng.choice([WAD // 50, WAD // 10, WAD // 2, WAD // 2]),
            "step_interval": rng.choice([0, 0, 30]),
            "max_funding": rng.choice([0, WAD // 400, WAD // 100]),
            "cooloff": rng.choice([0, 600]),
            "liquidation_fee": rng.choice([0, WAD // 100, WAD // 40]),
            "bucket_width": rng.choice([WAD // 10_000, WAD // 1000, WAD // 200]),
            **fixed,
        }
        market = MarketParameters(
            premium_retention=WAD - WAD // 600, oracle_grace=3600, guardian=self.chain.address(0), **parameters
        )
        decimals = rng.choice([6, 8, 18])
        self.exchange = Exchange.deploy(self.chain, MARK, market, VaultParameters(draw_cap=WAD // 10), decimals)
        self.ledger = Ledger()
        self.seen: Counter[str] = Counter()
        self.block = 0
        self.price = MARK
        self.exchange.fund(0)
        self.exchange.approve(0, self.exchange.vault)
        for trader in range(1, TRADERS + 1):
            self.exchange.fund(trader)
            self.exchange.deposit(trader, self.amount(10, 10_000))
        if rng.random() < 0.7:
            self.exchange.insure(0, self.amount(1, 500))
        self.follow()
        for _ in range(5):
            self.do(self.trade)

    # ---------------------------------------------------------------------------------------------------- operations

    def amount(self, low: int, high: int) -> int:
        """Quote, a whole number of token units, rarely a round one."""
        return self.rng.randint(low * WAD, high * WAD) // self.exchange.unit * self.exchange.unit

    def pair(self) -> tuple[int, int]:
        maker, taker = self.rng.sample(range(1, TRADERS + 1), 2)
        return maker, taker

    def deposit(self) -> None:
        sender, owner = self.pair()
        amount = self.rng.choice([self.exchange.unit, self.amount(1, 100), self.amount(10, 10_000)])
        self.exchange.deposit(sender, amount, self.rng.choice([sender, owner]))

    def withdraw(self) -> None:
        trader, _ = self.pair()
        units = self.exchange.account(trader).equity // self.exchange.unit
        self.exchange.withdraw(trader, units * self.rng.choice([10, 30, 60, 100]) // 100 * self.exchange.unit)

    def fill(self, maker: int, taker: int) -> tuple[int, bool, int, int]:
        """Maker, what it becomes, size by what the poorer has, price."""
        mark = self.exchange.mark
        equity = min(self.exchange.account(maker).equity, self.exchange.account(taker).equity)
        size = equity * self.rng.randint(1, 190) // 10 * WAD // mark
        return maker, self.rng.random() < 0.5, size, mark + mark * self.rng.randint(-30, 30) // 1000

    def trade(self) -> None:
        maker, taker = self.pair()
        maker, is_long, size, price = self.fill(maker, taker)
        self.exchange.trade(maker, taker, is_long, size, price)

    def close(self) -> None:
        """Somebody trades a part of its position away, all of it, or more."""
        held_by = [trader for trader in range(1, TRADERS + 1) if self.exchange.account(trader).shares]
        maker = self.rng.choice(held_by or [1])
        taker = self.rng.choice([trader for trader in range(1, TRADERS + 1) if trader != maker])
        held = self.exchange.account(maker)
        size = held.shares * self.exchange.side(held.side).scale // WAD * self.rng.choice([1, 2, 4, 6]) // 4
        self.exchange.trade(maker, taker, held.side == SHORT, size, self.exchange.mark)

    def batch(self) -> None:
        taker, *makers = self.rng.sample(range(1, TRADERS + 1), 4)
        fills = []
        for maker in makers:
            maker, is_long, size, price = self.fill(maker, taker)
            order = self.exchange.order(maker, is_long, size // 3, price)
            fills.append((order, self.exchange.sign(maker, order), size // 3))
        self.exchange.take_batch(taker, fills)

    def liquidate(self) -> None:
        """The weakest account by the richest other, after a move to where it is worth 2 % of its position."""
        held = {trader: self.exchange.account(trader) for trader in range(1, TRADERS + 1)}
        weakest = min(held, key=lambda trader: held[trader].equity / (held[trader].shares or 1e-9))
        keeper = max(held, key=lambda trader: held[trader].equity if trader != weakest else -1)
        equity, side, shares, *_ = astuple(held[weakest])
        size, mark = shares * self.exchange.side(side).scale // WAD, self.exchange.mark
        if not size:
            return
        room = equity * WAD // size
        self.price = (mark - room) * 100 // 98 if side == LONG else (mark + room) * 100 // 102
        self.price = min(max(self.price, WAD), 10**6 * WAD)
        self.exchange.set_price(self.price)
        for _ in range(3):
            self.exchange.settle()
        self.exchange.liquidate(keeper, weakest, size * self.rng.choice([1, 4]) // 4)

    def move(self) -> None:
        self.price = min(max(self.price * self.rng.choice(FACTORS) // 1000, WAD), 10**6 * WAD)
        self.exchange.set_price(self.price)
        self.exchange.settle()

    def settle(self) -> None:
        self.exchange.set_price(self.price)
        self.exchange.settle()

    def wait(self) -> None:
        self.chain.advance(self.rng.choice([1, 30, 600, 86_400]))
        self.settle()

    def guard(self) -> None:
        self.exchange.set_reduce_only(self.rng.random() < 0.3, 0)

    def insure(self) -> None:
        self.exchange.insure(0, self.amount(1, 500))

    def leave_vault(self) -> None:
        """The insurer redeems everything, after the cooldown: so the vault collects what the market owes it."""
        shares = self.exchange.vault_shares(0)
        self.exchange.request_redeem(0, shares)
        self.chain.advance(VaultParameters().redeem_cooldown)
        self.settle()
        self.exchange.redeem(0, shares)

    def wind_down(self) -> None:
        """The oracle dies and somebody says so; in one run out of a few, for good."""
        self.exchange.set_round(0, self.chain.now)
        self.exchange.wind_down()
        if self.rng.random() < 0.3:
            self.chain.advance(3600)
            self.exchange.wind_down()

    # ----------------------------------------------------------------------------------------------------- comparison

    def step(self) -> None:
        operations = {
            self.trade: 22,
            self.move: 16,
            self.close: 8,
            self.batch: 6,
            self.liquidate: 10,
            self.deposit: 10,
            self.withdraw: 8,
            self.settle: 8,
            self.wait: 6,
            self.insure: 3,
            self.leave_vault: 1,
            self.guard: 1,
            self.wind_down: 1,
        }
        (operation,) = self.rng.choices(list(operations), weights=list(operations.values()))
        self.do(operation)

    def do(self, operation: Callable[[], None]) -> None:
        """An operation that may be refused, in the middle too."""
        with suppress(Reverted):
            operation()
        self.follow()

    def follow(self) -> None:
        """Feed what is new, and compare every balance with the contract's own view."""
        ledger, exchange, core = self.ledger, self.exchange, self.exchange.core
        logs = self.chain.logs(self.block + 1, self.chain.block)
        self.block = self.chain.block
        for log in logs:
            ledger.feed(log)
            self.seen.update(remarkable(log))
        for trader in range(TRADERS + 1):
            assert ledger.account(self.chain.address(trader)) == exchange.account(trader), f"trader {trader}"
        for side in (LONG, SHORT):
            assert ledger.side(side) == exchange.side(side), f"side {side}"
        assert (ledger.mark, ledger.epoch, ledger.insurance_owed) == (core.mark, core.epoch, core.insurance_owed)
        assert (ledger.guarded, ledger.closed_price is not None) == (core.guarded, core.closed)
        assert ledger.token_balance == exchange.token_balance(exchange.market)
        assert 0 <= ledger.dust < 10**6
        self.seen["catch-up"] += core.lagging
        moved = [log for log in logs if log.name in ("Settled", "Moved") and not log.fields["funding"]]
        self.seen["stopped moves"] += bool(moved) and core.lagging and core.limited_at != self.chain.now
        levels = {ledger.account(owner).level for owner in ledger.accounts if ledger.account(owner).shares}
        self.seen["two levels"] += len(levels) > 1


def remarkable(log: Log) -> Iterator[str]:
    """What is worth counting about an event."""
    yield log.name
    if log.name == "Settled":
        receipt: Any = log.fields["receipt"]
        _, deficit, covered, _, _, shortfall, *_ = receipt
        if deficit > covered:
            yield "socialized"
        if shortfall:
            yield "shortfall"
    if log.name in ("Settled", "Moved") and log.fields["funding"]:
        yield "funding moves"


def run(seed: int) -> Run:
    """All steps of one market."""
    market = Run(seed)
    for step in range(STEPS):
        try:
            market.step()
        except Exception as error:
            error.add_note(f"seed {seed}, step {step}")
            raise
    return market


def test_the_log_alone_reproduces_every_balance() -> None:
    """And every kind of event was among them."""
    print(f"seed {SEED}")
    seen: Counter[str] = Counter()
    for seed in range(SEED * RUNS, SEED * RUNS + RUNS):
        market = run(seed)
        seen += market.seen
        # In one go, by somebody who comes late, and for this market only.
        late = Ledger(market.exchange.market.address).read(market.chain.logs(0, market.chain.block))
        assert late.totals == market.ledger.totals
        assert late.accounts == market.ledger.accounts
        assert all(late.account(owner) == market.ledger.account(owner) for owner in late.accounts)
    print(dict(seen))
    assert {name: count for name, count in RARE.items() if seen[name] < count} == {}
