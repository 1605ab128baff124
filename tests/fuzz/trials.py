"""What needs two futures of one market: each trial tries both from where a run stands, and leaves it as it was.

S4, S6 and their kin: touches, their order and their number change nothing; a split account is worth what the whole one
is; whoever lets the price go somewhere and come back has gained nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from random import Random

from prorata.chain import Reverted
from prorata.fast_exchange import FastExchange
from prorata.receipts import Receipt
from prorata.storage import State
from prorata.twin import Violation
from prorata.units import WAD
from tests.fuzz.rules import TRADERS, Setting, bounded

#: What a touch may cost, wei: each filing rounds a debt up by at most one, and an index has 36 digits.
TOUCH_COST = 5
#: Settlements after which a trial gives up waiting for the mark.
PATIENCE = 60
#: How often a victim is touched, and what all of that may cost it in wei.
TOUCHES, TOUCHES_COST = 1000, 1000
#: Accounts that only trials use.
WHOLE, HALF = 9, 10


class NotNow(Exception):
    """The market does not allow a trial at the moment."""


@dataclass(frozen=True)
class Future:
    """How it came out: the market, and which actions were refused."""

    state: State
    refused: frozenset[int] = frozenset()


class Trials:
    """Trials on one run's market.

    Args:
        done: counts those that came to a verdict, by name.
    """

    def __init__(self, driver: FastExchange, setting: Setting, rng: Random, done: Counter[str]) -> None:
        self._driver, self._setting, self._rng, self._done = driver, setting, rng, done
        self._unit = driver.unit
        self._trials = (
            self.touches,
            self.touches,
            self.order_of_actions,
            self.order_of_actions,
            self.split,
            self.there_and_back,
            self.there_and_back,
            self.settling_twice,
            self.many_touches,
        )

    def try_one(self, state: State) -> None:
        """One of them, by chance.

        Raises:
            Violation: the two futures differ.
        """
        trial = self._rng.choice(self._trials)
        try:
            with self._apart():
                trial(state)
        except (NotNow, Reverted):
            return
        self._done[trial.__name__] += 1

    def stopped_by_words(self, state: State) -> Receipt | None:
        """Of the move that a settlement now would not finish for its budget of bitmap words, of which the model knows
        nothing; None if it would stop at nothing, or elsewhere."""
        parameters = self._setting.parameters
        with self._apart(), suppress(Reverted):
            self._driver.settle()
            receipts, after = self._driver.receipts(), self._driver.read()
            # A step that is merely limited notes the time.
            if not after.lagging or not receipts or after.limited_at == self._driver.chain.now:
                return None
            # By its budget of buckets it stops with T at the edge of the first one left open, to a wei of price.
            loser = after.sides[receipts[-1].loser]
            threshold = loser.index - parameters.closeout_margin * loser.scale * after.mark // WAD
            edges = [h.edge for h in after.holdings if h.shares and h.side == receipts[-1].loser]
            return receipts[-1] if not edges or threshold - max(edges) > 4 * loser.scale else None
        return None

    # ------------------------------------------------------------------------------------------------------- trials

    def touches(self, state: State) -> None:
        """S4: whoever is touched, however often and in whatever order, a shock leaves all what it would have."""
        rng, price = self._rng, self._shock(state)
        touched = [rng.choice(TRADERS) for _ in range(2 * len(TRADERS))]
        stops: list[tuple[int, ...]] = []
        word_stops: list[int | None] = []

        def shocked(touched: list[int]) -> Future:
            for trader in touched:
                self._driver.deposit(trader % len(TRADERS) + 1, self._unit, trader)
            self._driver.chain.advance(2 * len(TRADERS) - len(touched))  # a touch takes a second; funding counts them
            edges = self._edges()
            self._driver.set_price(price)
            stopped = self.stopped_by_words(self._driver.read())
            word_stops.append(stopped.mark_after if stopped else None)
            with suppress(Reverted):
                self._driver.settle()
            after = self._driver.read()
            # A stopped mark ends at an edge, and what a touch gives may carry an account to the next bucket.
            if after.lagging:
                stops.append(tuple(edges))
            return Future(after)

        futures = [self._future(lambda: shocked([])), self._future(lambda: shocked(touched))]
        # A touch may also fill another word, or let a level's scan begin at another one.
        if len(set(stops)) > 1 or len(set(word_stops)) > 1:
            raise NotNow
        gifts = {trader: touched.count(trader) * self._unit for trader in TRADERS}
        tolerance = TOUCH_COST * len(touched)
        if self._anyone_closed(state, futures[0]):
            # What a touch gave to somebody who is then closed goes the way of his collateral, to anyone.
            tolerance += sum(gifts.values())
        self._compare("S4", *futures, gifts=gifts, tolerance=tolerance)

    def order_of_actions(self, state: State) -> None:
        """S4: after a shock, withdrawals, touches and liquidations in any order leave everybody the same."""
        self._driver.set_price(self._shock(state))
        self._settle_fully()
        self._driver.deposit(1, 10**6 * max(self._setting.wealth), 1)  # a keeper who can take over anyone
        shocked = self._driver.read()
        actions = [(trader, self._rng.randrange(2)) for trader in TRADERS if trader != 1]
        actions += [(trader, 2) for trader in TRADERS if trader != 1]

        def acted(order: list[int]) -> Future:
            refused = set()
            for number in order:
                trader, kind = actions[number]
                try:
                    self._act(kind, trader, shocked)
                except Reverted:
                    refused.add(number)
            return Future(self._driver.read(), frozenset(refused))

        orders = [self._rng.sample(range(len(actions)), len(actions)) for _ in range(2)]
        with self._at_once():
            first, second = (self._future(lambda order=order: acted(order)) for order in orders)
        if first.refused != second.refused:
            # A keeper who nets longs against shorts may be left with too little of either; whoever is to be liquidated
            # may have been touched back to health. Both depend on the order by design.
            raise NotNow
        size = 4 * len(actions) * shocked.mark // WAD + 1  # a keeper's size is rounded by a wei at every take-over
        # Whoever is touched first has a token unit more when he is liquidated.
        self._compare("S4", first, second, tolerance=TOUCH_COST * len(actions) + size + len(actions) * self._unit)

    def split(self, state: State) -> None:
        """S6: two accounts instead of one change nothing beyond dust and one bucket width."""
        exchange, rng = self._driver.exchange, self._rng
        if state.lagging or state.closed or state.premium:  # funding counts the seconds between two trades
            raise NotNow
        for trader in (WHOLE, HALF):
            exchange.fund(trader)
        wealth = max(self._setting.wealth) // self._unit * self._unit
        self._driver.deposit(1, 100 * wealth, 1)
        self._driver.settle()
        mark = self._driver.read().mark
        size, is_long = wealth * rng.randint(1, 17) * WAD // mark, rng.random() < 0.5
        prices = [bounded(mark * rng.randint(850, 1150) // 1000) for _ in range(3)]

        def lived(parts: tuple[int, ...]) -> tuple[Future, int, bool, list[int]]:
            for trader in parts:
                exchange.deposit(trader, wealth * 2 // len(parts))
                exchange.trade(trader, 1, is_long, size * 2 // len(parts), mark)
            edges = [exchange.account(trader).edge for trader in parts]
            exchange.chain.advance(4 - 2 * len(parts))
            for price in prices:
                self._driver.set_price(price)
                self._settle_fully()
            accounts = [exchange.account(trader) for trader in parts]
            open_ones = {bool(account.shares) for account in accounts}
            worth = sum(account.equity for account in accounts)
            return Future(self._driver.read()), worth, open_ones == {True}, edges

        with self._apart():
            whole, worth, is_open, [edge] = lived((WHOLE,))
        with self._apart():
            halves, sum_of_halves, are_open, edges = lived((WHOLE, HALF))
        if edges != [edge, edge] or is_open != are_open or whole.state.epoch != halves.state.epoch:
            # Collateral rounded by a wei may be filed in the next bucket; the two edges are a width apart then.
            for other in edges:
                width = abs(edge - other)
                if width and width & (width - 1):
                    raise Violation("S6", f"edges {edge} and {other} are not a width apart")
            raise NotNow
        tolerance = 100 + 100 * mark // WAD
        if abs(worth - sum_of_halves) > tolerance:
            raise Violation("S6", f"one account has {worth}, two have {sum_of_halves}")
        self._compare("S6", whole, halves, tolerance=tolerance)

    def there_and_back(self, state: State) -> None:
        """The price goes somewhere and comes back. If nobody was closed on the way nobody has gained; if somebody was,
        no coalition that he belongs to has gained more than insurance paid and winners are stated to have gone without.
        """
        self._driver.settle()
        before = self._driver.read()
        if before.lagging or before.closed or before.premium:
            raise NotNow
        receipts: list[Receipt] = []
        for price in (self._shock(before), before.mark):
            self._driver.set_price(price)
            receipts += self._settle_fully()
        after = self._driver.read()
        gains = [new.equity - old.equity for old, new in zip(before.holdings, after.holdings, strict=True)]
        closed = [bool(old.shares) and not new.shares for old, new in zip(before.holdings, after.holdings, strict=True)]
        dust = self._drift(before, after, receipts)
        if not any(receipt.buckets_closed for receipt in receipts):
            if sum(gain for gain in gains if gain > 0) > dust:
                raise Violation("S2", f"gains {gains} on a path to where it began: {receipts}")
            return
        coalition = sum(gain for gain, gone in zip(gains, closed, strict=True) if gone or gain > 0)
        most = sum(receipt.covered + receipt.socialized + receipt.adl_shortfall for receipt in receipts)
        if coalition > most + dust:
            raise Violation("S2", f"a coalition gained {coalition}, at most {most}: {gains}, {receipts}")

    def _drift(self, before: State, after: State, receipts: Sequence[Receipt]) -> int:
        """Quote that single wei of size make on a path: by so much the sides' sizes differ, and a path moves both."""
        distance = sum(abs(receipt.mark_after - receipt.mark_before) for receipt in receipts)
        sizes = [[side.shares * side.scale // WAD for side in state.sides] for state in (before, after)]
        drift = max(abs(longs - shorts) for longs, shorts in sizes) + len(receipts) + 2
        return drift * distance // WAD + len(TRADERS) * (len(receipts) + 1)

    def settling_twice(self, state: State) -> None:
        """To settle what is settled changes nothing, not even a bit."""
        self._driver.set_price(self._shock(state))
        with self._at_once():
            for _ in range(PATIENCE):
                self._driver.settle()
                once = self._driver.read()
                if not once.lagging:
                    break
            else:
                raise NotNow
            self._driver.settle()
        if self._driver.read() != once or self._driver.receipts():
            raise Violation("S4", "a second settlement changed the market")

    def many_touches(self, state: State) -> None:
        """However often a victim is touched, it loses less than a wei a touch."""
        open_ones = [trader for trader in TRADERS if state.holdings[trader - 1].shares]
        if not open_ones or self._rng.random() < 0.5:  # it takes as long as a thousand operations
            raise NotNow
        victim = self._rng.choice(open_ones)
        stranger = victim % len(TRADERS) + 1
        price = self._shock(state)

        def touched(times: int) -> Future:
            for _ in range(times):
                self._driver.deposit(stranger, self._unit, victim)
            self._driver.deposit(stranger, self._unit * (TOUCHES + 1 - times), victim)
            self._driver.set_price(price)
            self._driver.settle()
            return Future(self._driver.read())

        with self._at_once():
            first, second = self._future(lambda: touched(TOUCHES)), self._future(lambda: touched(1))
        if first.state.lagging and first.state.mark != second.state.mark:
            raise NotNow  # stopped at the victim's edge, which the money may have moved
        self._compare("S4", first, second, tolerance=TOUCHES_COST)

    # ------------------------------------------------------------------------------------------------------ futures

    @contextmanager
    def _apart(self) -> Iterator[None]:
        """Whatever is done within is undone."""
        driver = self._driver
        answer, nonces, pace = driver.answer, dict(driver.exchange.nonces), driver.pace
        try:
            with driver.chain.anchor():
                yield
        finally:
            driver.answer, driver.exchange.nonces, driver.pace = answer, nonces, pace

    @contextmanager
    def _at_once(self) -> Iterator[None]:
        """All transactions within fall into one second."""
        pace, self._driver.pace = self._driver.pace, 0
        try:
            yield
        finally:
            self._driver.pace = pace

    def _future(self, live: Callable[[], Future]) -> Future:
        with self._apart():
            return live()

    def _edges(self) -> list[int]:
        return [holding.edge if holding.shares else 0 for holding in self._driver.read().holdings]

    def _shock(self, state: State) -> int:
        return bounded(state.mark * self._rng.choice([600, 930, 960, 990, 1010, 1040, 1080, 1700]) // 1000)

    def _settle_fully(self) -> list[Receipt]:
        receipts: list[Receipt] = []
        for _ in range(PATIENCE):
            self._driver.settle()
            receipts += self._driver.receipts()
            if not self._driver.read().lagging:
                return receipts
            self._driver.chain.advance(self._setting.parameters.step_interval)
        raise NotNow

    def _act(self, kind: int, trader: int, shocked: State) -> None:
        """Withdraw what is free, touch, or liquidate."""
        holding = shocked.holdings[trader - 1]
        if kind == 0:
            side = shocked.sides[holding.side]
            notional = holding.shares * side.scale // WAD * shocked.mark // WAD
            free = holding.equity - (notional + 2) * self._setting.parameters.initial_margin // WAD - TOUCH_COST
            self._driver.withdraw(trader, max(free, 0) // self._unit * self._unit)
        elif kind == 1:
            self._driver.deposit(1, self._unit, trader)
        else:
            self._driver.liquidate(1, trader)

    def _anyone_closed(self, state: State, future: Future) -> bool:
        pairs = zip(state.holdings, future.state.holdings, strict=True)
        return any(old.shares and not new.shares for old, new in pairs)

    def _compare(
        self, guarantee: str, one: Future, other: Future, tolerance: int, gifts: dict[int, int] | None = None
    ) -> None:
        """The same accounts are open, and everybody has the same, but for `gifts` that he got in the second future."""
        for trader, (expected, found) in enumerate(zip(one.state.holdings, other.state.holdings, strict=True), start=1):
            if bool(expected.shares) != bool(found.shares) and one.state.epoch == other.state.epoch:
                raise Violation(guarantee, f"trader {trader}: {expected} in one future, {found} in the other")
            gift = (gifts or {}).get(trader, 0)
            gone = not found.shares and found.worth == 0
            difference = found.equity - expected.equity - (0 if gone else gift)
            if abs(difference) > tolerance:
                raise Violation(guarantee, f"trader {trader} differs by {difference} wei, at most {tolerance}")
