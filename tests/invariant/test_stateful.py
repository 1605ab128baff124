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
from prorata.model import SHARE_OFFSET
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
#: The one who deployed, who has insured from the start, and a trader.
insurers = st.integers(0, 1)
pairs = st.lists(traders, min_size=2, max_size=2, unique=True)
#: Shares of something, mostly plain, sometimes at the very ends.
fractions = st.one_of(st.integers(0, 10**6), st.sampled_from([0, 1, 10**6 - 1, 10**6]))
#: Price moves: small ones, shocks, and violent ones.
factors = st.one_of(
    st.integers(970, 1030), st.integers(700, 1400), st.sampled_from([100, 500, 900, 989, 990, 1010, 1011, 2000, 10_000])
)


#: What a market may be like.
CHOICES = {
    "max_buckets": [1, 1, 2, 128],
    "max_price_step": [WAD // 100, WAD // 20, WAD // 2, WAD // 2],
    "step_interval": [0, 0, 1, 60],
    "max_funding": [0, WAD // 400, WAD // 100],
    "premium_retention": [WAD // 2, WAD - WAD // 600, WAD - WAD // 28_800],
    "margin_slope": [0, 0, WAD // 1000],
    "oi_multiple": [0, 0, 0, 20 * WAD],
    "cooloff": [0, 3600],
    "liquidation_fee": [0, WAD // 100, WAD // 40],
    "liquidator_share": [0, WAD // 2, WAD],
}


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
    liquidations: int = 0
    funding_moves: int = 0
    limited_moves: int = 0
    markets_closed: int = 0
    redemptions: int = 0
    largest_difference: int = 0
    largest_favour: int = 0
    largest_dust: int = 0


class Market(RuleBasedStateMachine):
    """Traders, two insurers and an oracle, doing whatever they like."""

    seen = Seen()
    liquidated = 0

    @initialize(
        decimals=st.sampled_from([6, 8, 18]),
        mark=st.sampled_from([10**12, WAD, 1000 * WAD, 60_000 * WAD + 123_456_789]),
        insurance=st.sampled_from([0, 10, 1_000, 1_000_000]),
        luck=st.integers(0, 2**64 - 1),
        wealth=st.lists(st.integers(10, 10**4), min_size=TRADERS, max_size=TRADERS),
        openings=st.lists(st.tuples(pairs, st.booleans(), st.integers(2, 19)), min_size=3, max_size=6),
    )
    def deploy(self, decimals, mark, insurance, luck, wealth, openings):
        chain, rng = RevmChain(), random.Random(luck)
        parameters = MarketParameters(
            max_words=320,
            oracle_grace=3600,
            guardian=chain.address(0),
            # Not drawn one by one: Hypothesis likes to keep what it has drawn before.
            **{name: rng.choice(choices) for name, choices in CHOICES.items()},
        )
        self.gap_safe = parameters.max_price_step <= parameters.closeout_margin
        vault = VaultParameters(rng.choice([WAD // 10, WAD // 2, WAD * 9 // 10]))
        self.twin = Twin(chain, mark, TRADERS, parameters, vault, decimals)
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

    @rule(
        taker=traders,
        makers=st.lists(st.tuples(traders, st.booleans(), st.integers(1, 10)), min_size=1, max_size=3),
        premium=st.integers(-50, 50),
    )
    def trade_batch(self, taker, makers, premium):
        """Several fills after one settlement, all or none."""
        mark = self.exchange.mark
        equity = self.exchange.account(taker).equity
        price = mark + mark * premium // 1000
        trades = [(maker, is_long, equity * leverage * WAD // mark, price) for maker, is_long, leverage in makers]
        self.attempt(self.twin.trade_batch, taker, trades)

    @rule(pair=pairs, part=st.sampled_from([1, 3, 4, 4, 9]))
    def liquidate(self, pair, part):
        """Whoever it is, healthy or not."""
        keeper, trader = pair
        account = self.exchange.account(trader)
        size = account.shares * self.exchange.side(account.side).scale // WAD
        self.liquidate_up_to(keeper, trader, size * part // 4)

    @rule(ratio=st.one_of(st.integers(8, 26), st.integers(-40, 40)), take=st.booleans())
    def squeeze(self, ratio, take):
        """The price at which the weakest account holds `ratio` thousandths of its notional; the richest takes it over,
        or lets it go down."""
        held = {trader: self.exchange.account(trader) for trader in range(1, TRADERS + 1)}
        open_ones = {trader: account for trader, account in held.items() if account.shares}
        if not open_ones:
            return
        mark = self.exchange.mark
        weakest = min(open_ones, key=lambda trader: held[trader].equity / held[trader].shares)
        account, richest = held[weakest], max(held, key=lambda trader: held[trader].equity * (trader != weakest))
        size = account.shares * self.exchange.side(account.side).scale // WAD
        sign = 1 if account.side == 0 else -1
        # equity + sign * size * (price - mark) = ratio * size * price
        price = (sign * size * mark - account.equity * WAD) * 1000 // (size * (sign * 1000 - ratio)) if size else mark
        self.twin.set_price(bounded(price))
        self.attempt(self.twin.settle)
        if take:
            self.liquidate_up_to(richest, weakest, 2**256 - 1)

    def liquidate_up_to(self, keeper, trader, size):
        with suppress(Reverted):
            self.twin.liquidate(keeper, trader, size)
            self.liquidated += 1

    @rule(luck=st.integers(0, 4))
    def guard(self, luck):
        """On, seldom; off again, often."""
        self.twin.set_reduce_only(luck == 0)

    @rule(fault=st.sampled_from(["zero", "negative", "incomplete", "future", "stale", "huge", "tiny"]))
    def break_oracle(self, fault):
        now, answer = self.exchange.chain.now, self.twin.index_price
        rounds = {
            "zero": (0, now),
            "negative": (-answer, now),
            "incomplete": (answer, now, 2, 1),
            "future": (answer, now + 10**6),
            "stale": (answer, now - 10**5),
            "huge": (MAX_PRICE + 1, now),
            "tiny": (MIN_PRICE - 1, now),
        }
        self.twin.set_round(*rounds[fault])

    @rule(seconds=st.sampled_from([1, 3600]), luck=st.integers(0, 4))
    def wind_down(self, seconds, luck):
        """A report, or the end of the market, but seldom: every run ends with one anyway."""
        if luck == 0:
            self.exchange.chain.advance(seconds)
            self.attempt(self.twin.wind_down)

    @rule(factor=factors, settle=st.sampled_from([True, True, False]))
    def move(self, factor, settle):
        self.twin.set_price(bounded(self.twin.index_price * factor // 1000))
        if settle:
            self.attempt(self.twin.settle)

    @rule(
        leverages=st.lists(st.integers(3, 18), min_size=2, max_size=TRADERS - 1),
        is_long=st.booleans(),
        shock=st.integers(5, 60),
    )
    def crash_a_crowd(self, leverages, is_long, shock):
        """Several accounts of one side, each with a bucket of its own, and a move against all of them."""
        self.deposit(1, 10**22)
        for trader, leverage in enumerate(leverages, start=2):
            self.deposit(trader, 10**20)
            size = self.exchange.account(trader).equity * leverage * WAD // self.exchange.mark
            self.attempt(self.twin.trade, trader, 1, is_long, size, self.exchange.mark)
        self.move(1000 - 10 * shock if is_long else 1000 + 10 * shock, True)

    @rule()
    def catch_up(self):
        """As long as it takes, or until the oracle's answer is stale."""
        self.attempt(self.twin.settle_fully)

    @rule(factors=st.lists(st.integers(950, 1050), min_size=2, max_size=8))
    def walk(self, factors):
        for factor in factors:
            self.move(factor, True)

    @rule(insurer=insurers, amount=st.integers(0, 10**4))
    def insure(self, insurer, amount):
        self.attempt(self.twin.insure, amount * WAD, insurer)

    @rule(insurer=insurers, part=fractions)
    def request_redeem(self, insurer, part):
        self.attempt(self.twin.request_redeem, self.exchange.vault_shares(insurer) * part // 10**6, insurer)

    @rule(insurer=insurers, part=fractions, ripe=st.sampled_from([True, True, False]))
    def redeem(self, insurer, part, ripe):
        """Mostly from the request to the open window; otherwise whatever is there, whenever it is."""
        if ripe and not self.exchange.redeem_request(insurer).shares:
            self.request_redeem(insurer, 10**6 - part // 2)
        request = self.exchange.redeem_request(insurer)
        if ripe and request.opens > self.exchange.chain.now:
            self.wait(request.opens - self.exchange.chain.now)
        before = self.exchange.vault_supply
        self.attempt(self.twin.redeem, request.shares * part // 10**6, insurer)
        self.seen.redemptions += self.exchange.vault_supply < before

    @rule(insurer=insurers)
    def cancel_redeem(self, insurer):
        self.attempt(self.twin.cancel_redeem, insurer)

    @rule(seconds=st.sampled_from([1, 60, 3600, 86_390, 86_400, 172_790, 172_800]))
    def wait(self, seconds):
        """Time passes, so draw windows open anew, cooldowns end and requests lapse; the oracle keeps answering, and
        somebody settles."""
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
            if self.gap_safe:
                assert not any(receipt.deficit for receipt in self.twin.receipts), "S8: a deficit"
            # Until a deleverage scales a side, or funding or a liquidation is rounded, nobody ever has a wei more
            # than in the model.
            if not self.liquidated and not any(o.closed_size or o.funding for o in self.twin.model.outcomes):
                assert found.max_favour <= 0, f"S3: {found.max_favour} wei in an account's favour"

    def everybody_leaves(self):
        """The oracle dies, the market closes, and what is left when everybody has gone is dust."""
        twin, chain = self.twin, self.exchange.chain
        if not self.exchange.core.closed:
            twin.set_round(0, chain.now)
            if not self.exchange.core.suspect:
                twin.wind_down()
            chain.advance(3600)
            twin.wind_down()
        for _ in range(10_000):
            if not self.exchange.core.lagging and not self.exchange.side(0).shares:
                break
            chain.advance(twin.model.parameters.step_interval)
            twin.settle()
        for trader in twin.traders:
            equity = self.exchange.account(trader).equity
            if equity >= self.exchange.unit:
                twin.withdraw(trader, equity // self.exchange.unit * self.exchange.unit)
        for insurer in (0, 1):
            with suppress(Reverted):  # nothing to redeem, or not worth a token unit
                twin.request_redeem(self.exchange.vault_shares(insurer), insurer)
                chain.advance(twin.model.vault.parameters.redeem_cooldown)
                twin.redeem(self.exchange.redeem_request(insurer).shares, insurer)
        left = twin.check()
        assert left.sum_equity < TRADERS * self.exchange.unit
        # Without shares left to claim it, what the vault has is what requests left behind, and its virtual shares'.
        for insurer in (0, 1):
            shares = self.exchange.vault_shares(insurer) + self.exchange.redeem_request(insurer).shares
            assert shares * (left.vault + self.exchange.unit) <= self.exchange.unit * (
                self.exchange.vault_supply + SHARE_OFFSET
            )

    def teardown(self):
        if hasattr(self, "twin"):
            self.seen.markets_closed += self.exchange.core.closed
            self.everybody_leaves()
            self.seen.runs += 1
            for receipt, outcome in self.twin.moves:
                self.seen.settlements += 1
                self.seen.buckets_closed += receipt.buckets_closed
                self.seen.settlements_with_deficit += receipt.deficit > 0
                self.seen.settlements_socialized += receipt.socialized > 0
                self.seen.stopped_moves += outcome.stopped
                self.seen.epochs_ended += outcome.epoch_ended
                self.seen.funding_moves += receipt.funding
                self.seen.limited_moves += receipt.mark_after != receipt.index_price and not outcome.stopped
            self.seen.liquidations += self.liquidated

    @precondition(lambda self: hasattr(self, "twin"))
    @invariant()
    def touching_changes_nothing(self):
        """S4: whoever is touched, however often and in whatever order, a shock leaves all what it would have. Tried
        after every third step, because it costs more than all the rest."""
        rng = random.Random(self.exchange.chain.now)
        if rng.randrange(3):
            return
        price = bounded(self.twin.index_price * rng.choice([600, 930, 1080, 1700]) // 1000)
        touched = [rng.randint(1, TRADERS) for _ in range(2 * TRADERS)]
        held = {trader: self.exchange.account(trader) for trader in range(1, TRADERS + 1)}
        untouched, edges, _ = self.after_shock(price, [])
        after, moved_edges, stopped = self.after_shock(price, touched)
        if stopped and edges != moved_edges:
            return  # what a touch gives may carry an account to the next bucket, and a stopped mark ends at an edge
        gifts = {trader: touched.count(trader) * self.exchange.unit for trader in held}
        lost = [trader for trader in held if held[trader].shares and not after[trader].shares | after[trader].equity]
        # What a touch gives to an account that the shock closes goes the way of its collateral.
        tolerance = TOUCH_COST * len(touched) + sum(gifts[trader] for trader in lost)
        for trader in held:
            assert bool(after[trader].shares) == bool(untouched[trader].shares), f"S4: close-out of {trader}"
            expected = untouched[trader].equity + (0 if trader in lost else gifts[trader])
            difference = after[trader].equity - expected
            assert abs(difference) <= tolerance, f"S4: {trader} off by {difference}"

    def after_shock(self, price, touched):
        """Everybody's account after a shock, the edges of the buckets before it, whether the mark is still away."""
        everybody = range(1, TRADERS + 1)
        with self.exchange.chain.anchor():
            for trader in touched:
                self.exchange.deposit(0, self.exchange.unit, trader)
            self.exchange.chain.advance(2 * TRADERS - len(touched))  # a touch takes a second, and funding counts them
            edges = [self.exchange.account(trader).edge for trader in everybody]
            self.exchange.set_price(price)
            with suppress(Reverted):
                self.exchange.settle()
            return {trader: self.exchange.account(trader) for trader in everybody}, edges, self.exchange.core.lagging


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
