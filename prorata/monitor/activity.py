"""What happened lately, from the events of market and vault: settlements, draws, liquidations, changes of mode.

A bounded list. Moves that close nobody are many, so they have a bound of their own and push nothing else out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from prorata.audit.output import decimal
from prorata.chain import Chain, Entry, Log
from prorata.ledger import held_of, place_of
from prorata.monitor.snapshot import Contracts
from prorata.receipts import Receipt
from prorata.units import INDEX_UNIT, WAD

#: Rows kept: moves that close nobody, and all others.
QUIET_KEPT, KEPT = 50, 150
#: Blocks read back when the monitor begins, and blocks asked for at once.
LOOK_BACK, CHUNK = 20_000, 2_000
#: Buckets listed with the settlement that closed them.
BUCKETS_SHOWN = 16
#: Part of gross from which on a socialized loss trips the market (`modes.TRIP`).
_TRIP = 10**4
_SIDES = ("longs", "shorts")


@dataclass(frozen=True)
class Figure:
    """A name, a decimal number (or an address) as text, and its unit; no unit: none."""

    name: str
    value: str
    unit: str = ""


@dataclass(frozen=True)
class Row:
    """One thing that happened.

    Attributes:
        kind: "settlement", "move", "draw", "liquidation" or "mode".
        text: in a few words.
        lead: place of the figure that says most; None if there is none.
    """

    block: int
    timestamp: int
    transaction: str
    number: int  # among the rows of its transaction
    kind: str
    text: str
    lead: int | None
    figures: Sequence[Figure]


class Activity:
    """The latest rows of one market.

    Args:
        chain: where it is.
        contracts: the market and its vault.
    """

    def __init__(self, chain: Chain, contracts: Contracts) -> None:
        self._chain, self._contracts = chain, contracts
        self._rows: deque[Row] = deque()
        self._next: int | None = None

    @property
    def rows(self) -> list[Row]:
        """The latest first."""
        return list(reversed(self._rows))

    def forget_after(self, block: int) -> None:
        """Blocks after it are not on the chain any more, or were not read to the end."""
        while self._rows and self._rows[-1].block > block:
            self._rows.pop()
        if self._next is not None:
            self._next = min(self._next, block + 1)

    def follow(self, block: int) -> None:
        """Read on up to a block."""
        if self._next is None:
            self._next = max(block - LOOK_BACK, 0)
        while self._next <= block:
            end = min(self._next + CHUNK - 1, block)
            self._take(self._chain.entries(self._next, end))
            self._next = end + 1

    def _take(self, entries: Sequence[Entry]) -> None:
        for _, transaction in groupby(entries, key=lambda entry: entry.transaction):
            self._rows.extend(rows_of(list(transaction), self._contracts))
        kept = {True: QUIET_KEPT, False: KEPT}
        newest: deque[Row] = deque()
        for row in reversed(self._rows):
            quiet = row.kind == "move"
            if kept[quiet]:
                kept[quiet] -= 1
                newest.appendleft(row)
        self._rows = newest


def rows_of(transaction: Sequence[Entry], contracts: Contracts) -> Iterator[Row]:
    """The rows of one transaction's events, in order."""
    ours = (contracts.market.address, contracts.vault.address)
    closed: list[Log] = []
    number = 0
    for entry in transaction:
        log = entry.log
        if log.address not in ours:
            continue
        if log.name == "BucketClosed":
            closed.append(log)  # the receipt follows
            continue
        if log.name in ("Settled", "Moved"):
            words = _settlement(Receipt.from_log(log), closed, contracts)
            closed = []
        elif log.name in _WORDS:
            words = _WORDS[log.name](log.fields, contracts)
        else:
            continue
        yield Row(entry.block, entry.timestamp, entry.transaction, number, *words)
        number += 1


#: Kind, text, place of the leading figure, figures.
_Words = tuple[str, str, int | None, list[Figure]]


def quote(name: str, amount: int) -> Figure:
    """An amount of quote, 18 digits."""
    return Figure(name, decimal(amount), "quote")


def percent(name: str, part: int) -> Figure:
    """A ratio, 18 digits."""
    return Figure(name, decimal(100 * part), "%")


def _price(name: str, price: int) -> Figure:
    return Figure(name, decimal(price), "quote per size")


def _size(name: str, size: int) -> Figure:
    return Figure(name, decimal(size), "size")


def _settlement(receipt: Receipt, closed: Sequence[Log], contracts: Contracts) -> _Words:
    """A `Settled` or `Moved` event, with the buckets that it closed."""
    losers = _SIDES[receipt.loser]
    what = "Funding" if receipt.funding else "Price move"
    figures = [
        _price("mark before", receipt.mark_before),
        _price("mark after", receipt.mark_after),
        _price("index", receipt.index_price),
        quote("gross: lost by " + losers, receipt.gross),
        _size("open interest after", receipt.open_interest),
    ]
    if receipt.scales is None:
        return "move", f"{what}: {losers} lose, nobody is closed", 1, figures
    figures += [
        quote("deficit: not paid by closed accounts", receipt.deficit),
        quote("covered by insurance", receipt.covered),
        quote("socialized: winners go without", receipt.socialized),
        percent("haircut of the winners' gain", receipt.haircut),
        quote("surplus of closed accounts", receipt.surplus),
        quote("bonus to winners deleveraged at a lagging mark", receipt.bonus),
        quote("ADL shortfall: what they still miss", receipt.adl_shortfall),
        _size("size closed", receipt.closed_size),
        Figure("buckets closed", str(receipt.buckets_closed)),
        *(_bucket(log, receipt) for log in closed[:BUCKETS_SHOWN]),
    ]
    if len(closed) > BUCKETS_SHOWN:
        figures.append(Figure("further buckets, not listed", str(len(closed) - BUCKETS_SHOWN)))
    text = f"{what}: {losers} lose, buckets close"
    if receipt.socialized and receipt.socialized >= receipt.gross // _TRIP and contracts.parameters.cooloff:
        text += ", and the haircut makes the market reduce-only"
        figures.append(Figure("reduce-only for", str(contracts.parameters.cooloff), "seconds"))
    return "settlement", text, 8, figures


def _bucket(log: Log, receipt: Receipt) -> Figure:
    """What the accounts of a closed bucket had left after the move together; negative: were short of."""
    _, (side, level, number) = place_of(log.fields["bucket_id"])
    shares, debt = held_of(log)
    left = shares * (receipt.indices[side] - (number << level)) // INDEX_UNIT - debt
    scale = receipt.scales[side] if receipt.scales else WAD
    return quote(f"bucket of size {shares * scale // WAD / WAD:.6g}: {'short of' if left < 0 else 'left'}", abs(left))


def _covered(fields: Any, contracts: Contracts) -> _Words:
    figures = [
        quote("drawn", fields["amount"]),
        quote("of it sent by the vault", fields["transferred"] * contracts.unit),
        quote("drawn in this window", fields["window_drawn"]),
    ]
    return "draw", "Insurance is drawn on", 0, figures


def _liquidated(fields: Any, contracts: Contracts) -> _Words:
    figures = [
        Figure("account", fields["account"]),
        Figure("liquidator", fields["liquidator"]),
        _size("taken over", fields["size"]),
        _price("mark", fields["mark"]),
        quote("fee", fields["fee"]),
        quote("of it to the liquidator", fields["reward"]),
    ]
    return "liquidation", "An account below maintenance margin is liquidated", 2, figures


def _reduce_only(fields: Any, contracts: Contracts) -> _Words:
    return "mode", f"The guardian {'begins' if fields['on'] else 'ends'} reduce-only", None, []


def _reported(fields: Any, contracts: Contracts) -> _Words:
    grace = Figure("may be closed after", str(contracts.parameters.oracle_grace), "seconds")
    return "mode", "The oracle is reported dead", None, [grace]


def _closed(fields: Any, contracts: Contracts) -> _Words:
    return "mode", "The market is closed and winds down", 0, [_price("at the last accepted index", fields["price"])]


def _epoch_ended(fields: Any, contracts: Contracts) -> _Words:
    ended = Figure("epoch ended", str(fields["epoch"]))
    return "mode", "Reset: both sides close at the mark, gains kept", None, [ended]


_WORDS: dict[str, Callable[[Any, Contracts], _Words]] = {
    "Covered": _covered,
    "Liquidated": _liquidated,
    "ReduceOnly": _reduce_only,
    "OracleReported": _reported,
    "Closed": _closed,
    "EpochEnded": _epoch_ended,
}
