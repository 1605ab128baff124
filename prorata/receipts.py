"""Receipts: the `Settled` or `Moved` event of every move, and what `preview_settlement` says of one, decoded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from prorata.chain import Log
from prorata.units import WAD

#: The fields of the contracts' `Receipt` struct, in order.
RECEIPT_AMOUNTS = (
    "gross",
    "deficit",
    "covered",
    "surplus",
    "bonus",
    "adl_shortfall",
    "closed_size",
    "buckets_closed",
    "open_interest",
)


@dataclass(frozen=True, kw_only=True)
class Amounts:
    """What one move does: quote, 18 digits; losses rounded up, what is left over rounded down.

    Attributes:
        gross: what the losing side lost.
        deficit: the part of it that closed accounts could not pay.
        covered: the part of the deficit that insurance paid.
        surplus: what closed accounts had left.
        bonus: the part of the surplus that went to winners deleveraged at a lagging mark.
        adl_shortfall: what those winners still miss.
        closed_size: size closed, 18 digits.
        buckets_closed: how many buckets.
        open_interest: of the losing side afterwards, size, 18 digits.
    """

    gross: int
    deficit: int
    covered: int
    surplus: int
    bonus: int
    adl_shortfall: int
    closed_size: int
    buckets_closed: int
    open_interest: int

    @property
    def socialized(self) -> int:
        """The part of the deficit that the winners bear, quote."""
        return self.deficit - self.covered

    @property
    def haircut(self) -> int:
        """Socialized loss over gross, 18 digits, rounded up."""
        return -(-self.socialized * WAD // self.gross) if self.gross else 0

    @classmethod
    def from_view(cls, receipt: Sequence[int]) -> Amounts:
        """The contracts' `Receipt` struct, as `preview_settlement` gives two of them."""
        return cls(**dict(zip(RECEIPT_AMOUNTS, receipt, strict=True)))


@dataclass(frozen=True, kw_only=True)
class Receipt(Amounts):
    """What one move did.

    Attributes:
        loser: side that lost, 0 longs, 1 shorts.
        funding: whether it was a funding move; otherwise a price move.
        mark_before, mark_after, index_price: quote per size, 18 digits; after a stopped move the mark lags the index.
        indices: of longs and shorts afterwards, 36 digits.
        scales: likewise, 18 digits; None if nobody was closed, which leaves them as they were.
    """

    loser: int
    funding: bool
    mark_before: int
    mark_after: int
    index_price: int
    indices: tuple[int, int]
    scales: tuple[int, int] | None

    @classmethod
    def from_log(cls, log: Log) -> Receipt:
        """The receipt in a `Settled` event; that of a `Moved` has nothing but zeros where something would be closed."""
        fields = log.fields
        closes = log.name == "Settled"
        amounts = dict.fromkeys(RECEIPT_AMOUNTS, 0)
        if closes:
            amounts |= zip(RECEIPT_AMOUNTS, fields["receipt"], strict=True)
        else:
            amounts |= {"gross": fields["gross"], "open_interest": fields["open_interest"]}
        return cls(
            loser=fields["loser"],
            funding=fields["funding"],
            mark_before=fields["mark_before"],
            mark_after=fields["mark_after"],
            index_price=fields["index_price"],
            indices=(fields["long_index"], fields["short_index"]),
            scales=(fields["long_scale"], fields["short_scale"]) if closes else None,
            **amounts,
        )


def receipts_in(logs: Iterable[Log]) -> list[Receipt]:
    """All receipts among a transaction's events, in order."""
    return [Receipt.from_log(log) for log in logs if log.name in ("Settled", "Moved")]
