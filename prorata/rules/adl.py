"""Auto-deleveraging: whoever is first in a queue is closed against the bankrupt account, until all of it is closed.

Sources:

- Hyperliquid docs, "Auto-deleveraging" (hyperliquid.gitbook.io/hyperliquid-docs/trading/auto-deleveraging): opposite
  traders in profit are ranked by `(mark / entry) * (notional / account value)` and closed at the previous mark price.
- Binance, "What Is Auto-Deleveraging (ADL) and How Does It Work" (binance.com/en/support/faq/360033525471): ranking is
  PNL percentage times effective leverage (divided by it if negative), PNL percentage = unrealized PNL / |notional|,
  effective leverage = |notional| / (wallet balance + unrealized PNL); closed at the bankruptcy price, only when the
  insurance fund cannot take the position.

Readings, each the kinder one:

- Insurance pays a part of the deficit if it cannot pay all; that part of the position is then closed as everywhere
  here, and only the rest goes to the queue.
- Hyperliquid's index is written for longs; a short's ratio is entry / mark, so that more profit ranks higher. Once
  nobody in profit is left, the others follow by the same index.
- Hyperliquid's price is stated, but not what becomes of the account whose last loss is undone by it. So there are two:
  its queue at the bankruptcy price, and its queue as documented, where the account keeps what the price leaves it.
- The queue is ranked once for each bankrupt account. Venues rank every few seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from prorata.rules.book import ZERO, Account, Book, opposite
from prorata.rules.rule import AccountByAccount
from prorata.units import LONG

Ranking = Callable[[Account, Fraction], tuple[bool, Fraction]]


def hyperliquid_rank(account: Account, mark: Fraction) -> tuple[bool, Fraction]:
    """(Whether in profit, index); the highest is closed first. Quote over quote."""
    ratio = mark / account.entry if account.side == LONG else account.entry / mark
    return ratio > 1, ratio * account.size * mark / account.equity


def binance_rank(account: Account, mark: Fraction) -> tuple[bool, Fraction]:
    """(Whether in profit, index); the highest is closed first. Quote over quote."""
    notional = account.size * mark
    pnl = account.size * (mark - account.entry) * (1 if account.side == LONG else -1) / notional
    leverage = notional / account.equity
    return pnl >= 0, pnl * leverage if pnl >= 0 else pnl / leverage


class AutoDeleveraging(AccountByAccount):
    """A queue and the price at which it is closed.

    Args:
        name, title, source: as in `Rule`.
        rank: the queue.
        at_previous_mark: close at the previous mark; otherwise at the bankrupt account's bankruptcy price.
    """

    def __init__(self, name: str, title: str, source: str, rank: Ranking, at_previous_mark: bool = False) -> None:
        self.name, self.title, self.source = name, title, source
        self._rank, self._at_previous_mark = rank, at_previous_mark

    def bankrupt(self, book: Book, account: Account, deficit: Fraction, rest: Fraction) -> None:
        """As in `AccountByAccount`: the part that insurance has not paid for goes to the queue."""
        queued = account.size * rest / deficit
        if not queued:
            if rest:
                book.unborne += rest
            book.close(account)
            return
        assert account.side is not None
        per_unit = rest / queued
        if self._at_previous_mark:
            last_loss = abs(book.mark - book.previous)
            book.returned += queued * max(last_loss - per_unit, ZERO)
            account.equity += queued * max(last_loss - per_unit, ZERO)
            per_unit = max(last_loss, per_unit)
        left = queued
        for one in sorted(self._queue(book, account), key=lambda one: self._rank(one, book.mark), reverse=True):
            closed = min(left, one.size)
            book.charge(one, closed * per_unit, {account.side: Fraction(1)})
            one.size -= closed
            left -= closed
            book.calls += 1
            if not left:
                break
        else:
            book.unborne += left * per_unit
        book.closed_opposite += (queued - left) * book.mark
        account.size -= queued - left
        book.close(account)

    @staticmethod
    def _queue(book: Book, account: Account) -> list[Account]:
        """Opposite positions that are worth something: who is bankrupt himself has nothing to be closed against."""
        assert account.side is not None
        return [one for one in book.holders(opposite(account.side)) if one.equity > 0]
