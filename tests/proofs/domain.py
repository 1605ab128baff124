"""The ranges of what the contracts compute with, each with the place that guarantees it."""

from __future__ import annotations

from typing import Any

from prorata.units import INDEX_UNIT, MAX_PRICE, MIN_PRICE, MIN_SCALE, WAD
from tests.proofs.query import Query
from tests.proofs.transcript import Side

MAX_INDEX = 2**156
MAX_SHARES = 2**110
MAX_COLLATERAL = 2**121
MAX_LEVEL_WIDTH = 2**133
#: How far below zero an edge may lie: all there is, over the shares of the smallest position at the largest price.
LOWEST_EDGE = 2**219


def price(q: Query, name: str = "mark") -> Any:
    """Quote per size, 18 digits; the mark only ever moves towards such a price."""
    return q.integer(name, MIN_PRICE, MAX_PRICE, "oracle.vy")


def scale(q: Query, name: str = "scale") -> Any:
    """Size per share, 18 digits; below the least the epoch ends."""
    return q.integer(name, MIN_SCALE, WAD, "settlement.vy, `_is_over`")


def shares(q: Query, name: str = "shares") -> Any:
    """Of an account or a side, 18 digits."""
    return q.integer(name, 1, MAX_SHARES, "proof open_interest_bounds_shares")


def index(q: Query, name: str = "index") -> Any:
    """Quote per share, 36 digits."""
    return q.integer(name, -MAX_INDEX, MAX_INDEX, "proof an_index_fits_its_field")


def collateral(q: Query, name: str = "collateral") -> Any:
    """Quote, at most what the market and its vault can hold."""
    return q.integer(name, 0, MAX_COLLATERAL, "tokens.vy, MAX_BALANCE")


def width(q: Query, name: str = "width") -> Any:
    """Of a bucket, 2**level in index units."""
    return q.integer(name, 1, MAX_LEVEL_WIDTH, "proof levels_fit_the_cursors")


def ratio(q: Query, name: str, low: int = 0, high: int = WAD) -> Any:
    """A parameter of 18 digits."""
    return q.integer(name, low, high, "parameters.vy")


def side(q: Query, name: str) -> Side:
    """A side with shares."""
    return Side(shares(q, f"{name} shares"), scale(q, f"{name} scale"), index(q, f"{name} index"))


def wei(term: Any) -> Any:
    """Quote as exact quote of 54 digits."""
    return term * INDEX_UNIT
