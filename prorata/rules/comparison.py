"""Every shock under every rule, and the figures of each."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from prorata.rules import RULES, Rule, metrics
from prorata.rules.book import Book
from prorata.rules.metrics import Paid, Spread
from prorata.rules.population import STRADDLE_NAMES, Population, with_straddle
from prorata.rules.shocks import Shock

#: In a market without an attacker: the size of the one that is added to see what a straddle would have won, of the
#: open interest of a side.
PROBE = Fraction(1, 4)

#: Orders in which each of many markets is settled.
TALLY_ORDERS = 3
#: Outcomes that differ by less, in quote, count as the same.
CENT = Fraction(1, 100)

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Figures:
    """One rule in one shock; quote unless stated.

    Attributes:
        gross: what the losing sides of all moves lost.
        missing: of it, what they could not pay.
        gini: of losses for others among the winners of the largest move, by amount; None: nobody lost anything.
        gini_per_unit: the same per unit of the position at the start.
        closed_beyond, taken_beyond: overshoot, in notional closed and in money taken.
        spread: of outcomes over random orders of touches.
        principal: touched.
        straddle: profit of a straddle attacker, his two accounts together.
        calls: state-changing calls until everything is settled.
        paying: how many accounts lost something for others.
    """

    rule: str
    title: str
    gross: Fraction
    missing: Fraction
    paid: Paid
    gini: Fraction | None
    gini_per_unit: Fraction | None
    closed_beyond: Fraction
    taken_beyond: Fraction
    spread: Spread
    principal: Fraction
    straddle: Fraction
    calls: int
    paying: int


@dataclass(frozen=True)
class Tally:
    """In how many of many markets something is so of a rule, to see what of one market is chance.

    Attributes:
        missing: losers could not pay all. Only these markets count for the others.
        gain_only: nothing but insurance and the gain of the move was touched.
        any_order: outcomes were the same to the cent in TALLY_ORDERS orders.
        straddle_less, straddle_more: a straddle won at least a cent less, or more, than under the first rule, prorata.
        calls: sum over markets.
    """

    rule: str
    title: str
    missing: int
    gain_only: int
    any_order: int
    straddle_less: int
    straddle_more: int
    calls: int


@dataclass(frozen=True)
class Comparison:
    """One shock under all rules: the figures of one market, and a count over many."""

    shock: Shock
    population: Population
    orders: int
    markets: int
    rows: tuple[Figures, ...]
    tallies: tuple[Tally, ...]


def compare(
    shock: Shock, population: Population, orders: int, markets: int = 0, progress: Progress | None = None
) -> Comparison:
    """Settle a shock by every rule.

    Args:
        orders: random orders of touches, from the population's seed; the first is the one whose figures are shown.
        markets: how many to count over; they have the population's seed and the next ones.
        progress: called with how many rules and markets are done, and how many there are.
    """
    report = progress or (lambda _done, _of: None)
    steps = len(RULES) + markets
    rows = []
    for done, row in enumerate(_settled(shock, population, orders), start=1):
        rows.append(row)
        report(done, steps)
    counted: list[list[Figures]] = []
    for number in range(markets):
        twin = replace(population, seed=population.seed + number)
        counted.append(list(_settled(shock, twin, TALLY_ORDERS)))
        report(len(RULES) + number + 1, steps)
    tallies = tuple(_tally([market[place] for market in counted], counted, row) for place, row in enumerate(rows))
    return Comparison(shock, population, orders, markets, tuple(rows), tallies)


def _tally(found: Sequence[Figures], markets: Sequence[Sequence[Figures]], row: Figures) -> Tally:
    """Count one rule's figures; the first rule of each market is what straddles are compared with."""
    pairs = [(mine, market[0]) for mine, market in zip(found, markets, strict=True) if mine.missing]
    return Tally(
        rule=row.rule,
        title=row.title,
        missing=len(pairs),
        gain_only=sum(mine.paid.untouched for mine, _ in pairs),
        any_order=sum(mine.spread.largest < CENT for mine, _ in pairs),
        straddle_less=sum(mine.straddle <= first.straddle - CENT for mine, first in pairs),
        straddle_more=sum(mine.straddle >= first.straddle + CENT for mine, first in pairs),
        calls=sum(mine.calls for mine, _ in pairs),
    )


def _settled(shock: Shock, population: Population, orders: int) -> Iterator[Figures]:
    """The figures of every rule in one market."""
    start = population.book(Fraction(shock.points[0].price))
    start.reach = shock.reach
    if not shock.insured:
        start.insurance = Fraction(0)
    if shock.straddle:
        start = with_straddle(start, shock.straddle)
    for rule in RULES:
        yield _figures(rule, shock, start, _orders(start, population.seed, orders))


def _orders(book: Book, seed: int, count: int) -> list[list[str]]:
    rng = random.Random(seed)
    return [rng.sample(list(book.accounts), len(book.accounts)) for _ in range(count)]


def _figures(rule: Rule, shock: Shock, start: Book, orders: Sequence[Sequence[str]]) -> Figures:
    ends = [rule.settle(start, shock.points, order) for order in orders]
    end = ends[0]
    losses = [(metrics.loss(end.accounts[name]), end.accounts[name].opened) for name in metrics.winners(start, end)]
    return Figures(
        rule=rule.name,
        title=rule.title,
        gross=end.gross,
        missing=end.missing,
        paid=Paid.of(end),
        gini=metrics.gini([loss for loss, _ in losses]),
        gini_per_unit=metrics.gini([loss / size for loss, size in losses]),
        closed_beyond=metrics.closed_beyond(end),
        taken_beyond=metrics.taken_beyond(end),
        spread=metrics.spread([{name: one.equity for name, one in book.accounts.items()} for book in ends]),
        principal=metrics.principal_touched(end),
        straddle=_straddle_profit(rule, shock, start, orders[0]),
        calls=end.calls,
        paying=sum(1 for account in end.accounts.values() if metrics.loss(account)),
    )


def _straddle_profit(rule: Rule, shock: Shock, start: Book, order: Sequence[str]) -> Fraction:
    """What an attacker has won by the price at which one of his two accounts is closed, or by the last one.

    What his other account wins later is the reward of an open position, which the rule does not give him.
    """
    if not shock.straddle:
        start, order = with_straddle(start, PROBE), [*order, *STRADDLE_NAMES]
    for count in range(2, len(shock.points) + 1):
        end = rule.settle(start, shock.points[:count], order)
        if any(name in end.failed for name in STRADDLE_NAMES):
            break
    return metrics.coalition_profit(start, end, STRADDLE_NAMES)
