"""The loss curve: what a move of the mark to each of many prices would do, as `preview_settlement` says (design §10).

Nothing is worked out here. Every figure is the contract's, and so is the distance to the next bucket: the price is
searched for at which a preview begins to close somebody.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from prorata.receipts import Amounts
from prorata.units import LONG, MAX_PRICE, MIN_PRICE, SHORT, WAD

#: Prices of the curve, in percent of the price in its middle.
GRID = tuple(range(-50, 51))
#: The search for the next bucket ends at this multiple of the mark. Beyond, a preview may need more than a node allows.
FARTHEST_RISE = 10
#: Prices asked for at once on either side: each round of the search divides what is left by one more than that.
_PROBES = 7

#: Prices (18 digits) to the two receipts of each preview, funding and price.
Previews = Callable[[Sequence[int]], Sequence[tuple[Sequence[int], Sequence[int]]]]


@dataclass(frozen=True)
class Point:
    """A move of the mark straight to a price.

    Attributes:
        change: of the price in the middle of the grid, percent.
        price: quote per size, 18 digits.
        move: what it does. The funding that is due is settled before it and not in here.
    """

    change: int
    price: int
    move: Amounts


@dataclass(frozen=True)
class NextBucket:
    """Where the next bucket of a side closes.

    Attributes:
        price: the last price, 18 digits, to which a move closes nobody.
        beyond: the first to which one does, a wei further.
        move: what the move there does; all that it closes is what is in the first buckets.
    """

    price: int
    beyond: int
    move: Amounts


@dataclass(frozen=True)
class Curve:
    """Everything that previews say after one block.

    Attributes:
        middle: price in the middle of the grid, 18 digits.
        points: by rising price.
        funding: the move that is due before any move of the price.
        next: of longs and shorts; None if no price down to the smallest, or up to FARTHEST_RISE, closes anybody.
    """

    middle: int
    points: Sequence[Point]
    funding: Amounts
    next: tuple[NextBucket | None, NextBucket | None]


def read(previews: Previews, mark: int, middle: int, last: Curve | None = None) -> Curve:
    """Ask for the curve and search for the next buckets.

    A price move alone leaves the next buckets where they were, so they are looked for where the last curve had them: a
    block in which nobody traded near them costs one request.

    Args:
        mark: where moves start, 18 digits.
        middle: of the grid, 18 digits.
        last: of an earlier block, to begin the search with.
    """
    grid = [(change, middle * (100 + change) // 100) for change in GRID]
    grid = [(change, price) for change, price in grid if MIN_PRICE <= price <= MAX_PRICE]
    ends = MIN_PRICE, min(FARTHEST_RISE * mark, MAX_PRICE)
    guesses = [price for one in (last.next if last else ()) if one for price in (one.price, one.beyond)]
    prices = [price for _, price in grid] + [*ends, *(price for price in guesses if ends[0] <= price <= ends[1])]
    answers = list(previews(prices))
    moves = {price: Amounts.from_view(move) for price, (_, move) in zip(prices, answers, strict=True)}
    return Curve(
        middle=middle,
        points=[Point(change, price, moves[price]) for change, price in grid],
        funding=Amounts.from_view(answers[0][0]),
        next=_search(previews, mark, moves),
    )


def _search(previews: Previews, mark: int, known: dict[int, Amounts]) -> tuple[NextBucket | None, NextBucket | None]:
    """The next bucket of each side, narrowed down to the wei from what is known; both sides in the same requests."""
    found = dict(known)
    while True:
        brackets = [_bracket(side, mark, found) for side in (LONG, SHORT)]
        prices = [price for bracket in brackets if bracket for price in _between(*bracket)]
        if not prices:
            break
        found |= {price: Amounts.from_view(move) for price, (_, move) in zip(prices, previews(prices), strict=True)}
    longs, shorts = (bracket and NextBucket(*bracket, found[bracket[1]]) for bracket in brackets)
    return longs, shorts


def _bracket(side: int, mark: int, found: dict[int, Amounts]) -> tuple[int, int] | None:
    """The farthest price known to close nobody of a side, and the nearest known to close somebody; None if none does.

    The farther a move goes the more it closes, so nothing lies between that could surprise.
    """
    losing = [price for price in found if (price < mark if side == LONG else price > mark)]
    closing = [price for price in losing if found[price].buckets_closed]
    if not closing:
        return None
    nearest = max(closing) if side == LONG else min(closing)
    # A move to the mark itself is none.
    open_to = [mark, *(price for price in losing if not found[price].buckets_closed)]
    return (min(open_to) if side == LONG else max(open_to)), nearest


def _between(kept: int, closing: int) -> list[int]:
    """Prices that divide a bracket into equal parts; none if its ends are neighbours."""
    low, high = sorted((kept, closing))
    width = high - low
    return sorted({low + width * part // (_PROBES + 1) for part in range(1, _PROBES + 1)} - {low, high})


def distance(price: int, origin: int) -> int:
    """How far a price is from another, as a part of it: 18 digits, rounded down."""
    return (price - origin) * WAD // origin
