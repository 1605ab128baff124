"""Any sequence of operations, on any market: S1 to S4 after every step, against the eager model.

`PRORATA_RUNS`, `PRORATA_STEPS` and `PRORATA_SEED` set how many runs of how many steps, from which seed; the seed is
printed in the test session's header.
"""

import os
import random
from contextlib import suppress
from dataclasses import asdict, dataclass

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from prorata.chain import Reverted
from prorata.parameters import MarketParameters, VaultParameters
from prorata.revm_chain import RevmChain
from prorata.twin import Twin
from prorata.units import MAX_PRICE, MIN_PRICE, WAD
from tests import figures

RUNS = int(os.environ.get("PRORATA_RUNS", "560"))
STEPS = int(os.environ.get("PRORATA_STEPS", "60"))
SEED = int(os.environ.get("PRORATA_SEED", "1"))
#: Parts of a campaign that may run side by side, each with a seed of its own.
SHARDS = 4

TRADERS = 6
#: What a touch may cost: each filing rounds a debt up by at most a wei, and an index is 36 digits.
TOUCH_COST = 5

traders = st.integers(1, TRADERS)
pairs = st.lists(traders, min_size=2, max_size=2, unique=True)
#: Shares of something, mostly plain, sometimes at the very ends.
fractions = st.one_of(st.integers(0, 10**6), st.sampled_from([0, 1, 10**6 - 1, 10**6]))
#: Price moves: small ones, shocks, and violent ones.
factors = st.one_of(
    st.integers(970, 1030), st.integers(700, 1400), st.sampled_from([100, 500, 900, 989, 990, 1010, 1011, 2000, 10_000])
)


def bounded(price):
    """A price the oracle may give."""
    return min(max(price, MIN_PRICE), MAX_PRICE)


@dataclass
class Seen:
    """What a shard came across; amounts in wei."""

    runs: int = 0
    steps: int = 0
    settlements: int = 0
    buckets_closed: int = 0
    settlements_with_deficit: int = 0
    settlements_socialized: int = 0
    stopped_moves: int = 0
    epochs_ended: int = 0
    largest_difference: int = 0
    largest_favour: int = 0
    largest_dust: int = 0


class Market(RuleBasedStateMachine):
    """Traders, one insurer and an oracle, doing whatever they like."""

    seen = Seen()

    @initialize(
        decimals=st.sampled_from([6, 8, 18]),
        mark=st.sampled_from([10**12, WAD, 1000 * WAD, 60_000 * WAD + 123_456_789]),
        insurance=st.sampled_from([0, 10, 1_000, 1_000_000]),
        max_buckets=st.sampled_from([1, 2, 128]),
        draw_cap=st.sampled_from([WAD // 10, WAD // 2, WAD * 9 // 10]),
        wealth=st.lists(st.integers(10, 10**4), min_size=TRADERS, max_size=TRADERS),
        openings=st.lists(st.tuples(pairs, st.booleans(), st.integers(2, 19)), min_size=3, max_size=6),
    )
    def deploy(self, decimals, mark, insurance, max_buckets, draw_cap, wealth, openings):
        parameters = MarketParameters(max_buckets=max_buckets, max_words=512)
        self.twin = Twin(RevmChain(), mark, TRADERS, parameters, VaultParameters(draw_cap), decimals)
        self.exchange = self.twin.exchange
        if insurance:
            self.twin.insure(insurance * WAD)
        for trader, amount in enumerate(wealth, start=1):
            self.twin.deposit(trader, amount * WAD)
        for pair, is_long, leverage in openings:
            self.trade(pair, is_long, leverage, 0, False)

    def attempt(self, operation, *arguments, **terms):
        """Both sides may refuse; that they refuse together, and why, is checked by the twin."""
        with suppress(Reverted):
            operation(*arguments, **terms)

    @rule(to=traders, amount=st.one_of(st.just(0), st.integers(1, 10**12), st.integers(10**19, 10**22)))
    def deposit(self, to, amount):
        """From a touch of one unit to a fortune; often to somebody who was closed, who then trades again."""
        units = 1 if amount == 0 else -(-amount // self.exchange.unit)
        self.twin.deposit(1, units * self.exchange.unit, to)

    @rule(trader=traders, part=fractions)
    def withdraw(self, trader, part):
        equity = self.exchange.account(trader).equity
        self.attempt(self.twin.withdraw, trader, equity * part // 10**6 // self.exchange.unit * self.exchange.unit)

    @rule(
        pair=pairs,
        is_long=st.booleans(),
        leverage=st.one_of(st.integers(1, 25), st.just(19)),
        premium=st.one_of(st.just(0), st.integers(-5, 5), st.integers(-60, 60)),
        reduce_only=st.sampled_from([False, False, False, True]),
    )
    def trade(self, pair, is_long, leverage, premium, reduce_only):
        """A new trade, sized by what the poorer of the two has."""
        maker, taker = pair
        mark = self.exchange.mark
        equity = min(self.exchange.account(maker).equity, self.exchange.account(taker).equity)
        size = equity * leverage * WAD // mark
        self.attempt(self.twin.trade, maker, taker, is_long, size, mark + mark * premium // 1000, reduce_only)

    @rule(pair=pairs, part=st.sampled_from([1, 2, 3, 4, 4, 4, 5, 8]))
    def close(self, pair, part):
        """The maker trades away quarters of its position: part of it, all of it, or more."""
        maker, taker = pair
        account = self.exchange.account(maker)
        size = account.shares * self.exchange.side(account.side).scale // WAD
        self.attempt(self.twin.trade, maker, taker, account.side == 1, size * part // 4, self.exchange.mark)

    @rule(factor=factors, settle=st.sampled_from([True, True, False]))
    def move(self, factor, settle):
        self.twin.set_price(bounded(self.twin.index_price * factor // 1000))
        if settle:
            self.twin.settle()

    @rule(factors=st.lists(st.integers(950, 1050), min_size=2, max_size=8))
    def walk(self, factors):
        for factor in factors:
            self.move(factor, True)

    @rule(deposit=st.booleans(), amount=st.integers(0, 10**4), part=fractions)
    def insure(self, deposit, amount, part):
        if deposit:
            self.attempt(self.twin.insure, amount * WAD)
        else:
            self.attempt(self.twin.redeem, self.exchange.vault_shares(0) * part // 10**6)

    @rule(seconds=st.sampled_from([1, 3600, 86_400]))
    def wait(self, seconds):
        """Time passes, so draw windows open anew; the oracle keeps answering, and somebody settles."""
        self.exchange.chain.advance(seconds)
        self.twin.set_price(self.twin.index_price)
        self.twin.settle()

    @invariant()
    def conserved_bounded_and_exact(self):
        """S1 and S3 here; S2, and S3 of receipts and refusals, inside every operation of the twin."""
        if hasattr(self, "twin"):
            found, seen = self.twin.check(), self.seen
            seen.steps += 1
            seen.largest_difference = max(seen.largest_difference, found.max_difference)
            seen.largest_favour = max(seen.largest_favour, found.max_favour)
            seen.largest_dust = max(seen.largest_dust, found.dust)
            # Until a deleverage scales a side, nobody ever has a wei more than in the model.
            if not any(outcome.closed_size for outcome in self.twin.model.outcomes):
                assert found.max_favour <= 0, f"S3: {found.max_favour} wei in an account's favour"

    def teardown(self):
        if hasattr(self, "twin"):
            self.seen.runs += 1
            for receipt, outcome in zip(self.twin.receipts, self.twin.model.outcomes, strict=False):
                self.seen.settlements += 1
                self.seen.buckets_closed += receipt.buckets_closed
                self.seen.settlements_with_deficit += receipt.deficit > 0
                self.seen.settlements_socialized += receipt.socialized > 0
                self.seen.stopped_moves += outcome.stopped
                self.seen.epochs_ended += outcome.epoch_ended

    @precondition(lambda self: hasattr(self, "twin"))
    @invariant()
    def touching_changes_nothing(self):
        """S4: whoever is touched, however often and in whatever order, a shock leaves everybody what it would have."""
        rng = random.Random(self.exchange.chain.now)
        price = bounded(self.twin.index_price * rng.choice([600, 930, 1080, 1700]) // 1000)
        touched = [rng.randint(1, TRADERS) for _ in range(2 * TRADERS)]
        held = {trader: self.exchange.account(trader) for trader in range(1, TRADERS + 1)}
        untouched, after = self.after_shock(price, []), self.after_shock(price, touched)
        gifts = {trader: touched.count(trader) * self.exchange.unit for trader in held}
        lost = [trader for trader in held if held[trader].shares and not after[trader].shares | after[trader].equity]
        # What a touch gives to an account that the shock closes goes the way of its collateral.
        tolerance = TOUCH_COST * len(touched) + sum(gifts[trader] for trader in lost)
        for trader in held:
            assert bool(after[trader].shares) == bool(untouched[trader].shares), f"S4: close-out of {trader}"
            expected = untouched[trader].equity + (0 if trader in lost else gifts[trader])
            assert abs(after[trader].equity - expected) <= tolerance, (
                f"S4: {trader} off by {after[trader].equity - expected}"
            )

    def after_shock(self, price, touched):
        with self.exchange.chain.anchor():
            for trader in touched:
                self.exchange.deposit(0, self.exchange.unit, trader)
            self.exchange.set_price(price)
            self.exchange.settle()
            return {trader: self.exchange.account(trader) for trader in range(1, TRADERS + 1)}


@pytest.mark.parametrize("shard", range(SHARDS))
def test_stateful(shard):
    Market.seen = Seen()
    campaign = settings(
        max_examples=-(-RUNS // SHARDS),
        stateful_step_count=STEPS,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
        database=None,
        print_blob=True,
    )
    run_state_machine_as_test(seed(SEED + shard)(Market), settings=campaign)
    figures.record(f"stateful runs, seed {SEED + shard}", asdict(Market.seen))
