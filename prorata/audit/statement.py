"""What one account went through, event by event, and why it has what it has.

Every row adds up to the wei:

    equity after = equity before + gain after haircut + price difference + reward + cash
                   - fee - liquidation fee - forfeited - rounding

Gain before the haircut is the account's part of what the losers of a move lost; the haircut its part of what they and
insurance could not pay; the bonus its part of what closed accounts left to winners who were deleveraged while the mark
lagged; the ADL shortfall, which it never had and so is in no sum, what it still missed by that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prorata.audit.books import Books, Holder
from prorata.audit.desk import Touch, Where
from prorata.audit.eager import Move
from prorata.audit.output import Growing, Sheet, decimal
from prorata.audit.rules import EXACT, size_of
from prorata.receipts import Receipt
from prorata.units import LONG, WAD

#: Columns that are amounts of quote and may be added up over rows.
SUMMED = (
    "gain_before_haircut",
    "haircut",
    "bonus",
    "gain_after_haircut",
    "adl_shortfall",
    "price_difference",
    "fee",
    "liquidation_fee",
    "reward",
    "cash",
    "forfeited",
    "rounding",
)
COLUMNS = (
    "block",
    "time",
    "transaction",
    "event",
    "side",
    "mark",
    "size_before",
    "size_after",
    "equity_before",
    *SUMMED,
    "equity_after",
)
#: Head and width of the readable table's columns, with the amounts that stand in each.
_TABLE = (
    ("time (UTC)", 17),
    ("block", 8),
    ("event", 11),
    ("side", 6),
    ("mark", 14),
    ("size", 14),
    ("gain", 14),
    ("haircut", 12),
    ("bonus", 10),
    ("ADL short", 12),
    ("fill, reward", 13),
    ("fees", 11),
    ("cash", 14),
    ("forfeited", 12),
    ("equity", 16),
)


@dataclass
class Row:
    """One event and one account, amounts quote with 18 digits."""

    where: Where
    event: str
    side: int | None
    mark: int
    size_before: int
    size_after: int
    equity_before: int
    equity_after: int
    amounts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Whatever else changed the equity is rounding."""
        a = dict.fromkeys(SUMMED, 0) | self.amounts
        come = a["gain_after_haircut"] + a["price_difference"] + a["reward"] + a["cash"]
        gone = a["fee"] + a["liquidation_fee"] + a["forfeited"]
        a["rounding"] = self.equity_before + come - gone - self.equity_after
        self.amounts = a

    def as_csv(self) -> dict[str, Any]:
        """By column; amounts as exact decimal numbers."""
        return {
            "block": self.where.block,
            "time": _time(self.where.timestamp),
            "transaction": self.where.transaction,
            "event": self.event,
            "side": _side(self.side),
            "mark": decimal(self.mark),
            "size_before": decimal(self.size_before),
            "size_after": decimal(self.size_after),
            "equity_before": decimal(self.equity_before),
            "equity_after": decimal(self.equity_after),
        } | {name: decimal(amount) for name, amount in self.amounts.items()}

    def as_text(self) -> str:
        """A line of the readable table; amounts rounded to nearest."""
        a = self.amounts
        cells = (
            _time(self.where.timestamp)[:16].replace("T", " "),
            str(self.where.block),
            self.event,
            _side(self.side),
            f"{self.mark / WAD:,.6g}",
            f"{self.size_after / WAD:,.6g}",
            _money(a["gain_after_haircut"]),
            _money(-a["haircut"]),
            _money(a["bonus"]),
            _money(-a["adl_shortfall"]),
            _money(a["price_difference"] + a["reward"]),
            _money(-a["fee"] - a["liquidation_fee"]),
            _money(a["cash"]),
            _money(-a["forfeited"]),
            f"{self.equity_after / WAD:,.2f}",
        )
        return _line(cells)


class Statement:
    """Follows one account. A `Watcher`.

    Args:
        owner: its address.
        folder: where `statement-<owner>.csv` and `.txt` go.
        so_far: as `progress` gave it, to go on.
    """

    def __init__(self, owner: str, folder: Path, so_far: dict[str, Any] | None = None) -> None:
        found = so_far or {"csv": 0, "text": 0, "rows": 0, "totals": dict.fromkeys(SUMMED, 0)}
        self.owner = owner
        self.rows = int(found["rows"])
        self.totals: dict[str, int] = dict(found["totals"])
        self._sheet = Sheet(folder / f"statement-{owner}.csv", COLUMNS, found["csv"])
        self._text = Growing(folder / f"statement-{owner}.txt", found["text"])
        if not found["text"]:
            self._text.line(f"Statement of {owner}\n")
            self._text.line(_line(tuple(head for head, _ in _TABLE)))

    @property
    def paths(self) -> tuple[Path, Path]:
        """The files."""
        return self._sheet.path, self._text.path

    def progress(self) -> dict[str, Any]:
        """For JSON: how far the files are, and what they add up to."""
        return {"csv": self._sheet.size, "text": self._text.size, "rows": self.rows, "totals": self.totals}

    def finish(self, books: Books) -> None:
        """The sums under the table, and what is left at the end."""
        for line in self._closing_lines(books):
            self._text.line(line)
        self.close()

    def close(self) -> None:
        """No more rows."""
        self._sheet.close()
        self._text.close()

    # ------------------------------------------------------------------------------------------------------ watching

    def moved(self, where: Where, books: Books, move: Move, receipt: Receipt) -> None:
        """One move, if the account has a position."""
        holder = books.holders.get(self.owner)
        if holder is None or not holder.shares:
            return
        if holder.side == receipt.loser:
            self._lost(where, books, holder, move, receipt)
        else:
            self._won(where, books, holder, move, receipt)

    def _lost(self, where: Where, books: Books, holder: Holder, move: Move, receipt: Receipt) -> None:
        pool = books.sides[holder.side]
        worth = holder.worth - holder.shares * (pool.index - receipt.indices[holder.side])
        loss = worth // EXACT - holder.worth // EXACT
        size = size_of(holder.shares, pool.scale)
        closed = any(owner == self.owner for owner, _ in move.closed)
        amounts = {"gain_before_haircut": loss, "gain_after_haircut": loss}
        if closed:
            amounts["forfeited"] = worth // EXACT
        self._write(
            Row(
                where,
                "closed" if closed else _kind(receipt),
                holder.side,
                receipt.mark_after,
                size,
                0 if closed else size,
                holder.equity,
                0 if closed else max(worth // EXACT, 0),
                amounts,
            )
        )

    def _won(self, where: Where, books: Books, holder: Holder, move: Move, receipt: Receipt) -> None:
        pool, all_shares = books.sides[holder.side], move.winner_shares
        rise = receipt.indices[holder.side] - pool.index
        after = holder.worth + holder.shares * rise
        socialized = max(move.deficit - move.covered * EXACT, 0)

        def part(amount: int) -> int:
            return amount * holder.shares // all_shares // EXACT

        scale = pool.scale if receipt.scales is None else receipt.scales[holder.side]
        self._write(
            Row(
                where,
                _kind(receipt),
                holder.side,
                receipt.mark_after,
                size_of(holder.shares, pool.scale),
                size_of(holder.shares, scale),
                holder.equity,
                max(after // EXACT, 0),
                {
                    "gain_before_haircut": part(move.gross),
                    "haircut": part(socialized),
                    "bonus": part(move.bonus),
                    "gain_after_haircut": after // EXACT - holder.worth // EXACT,
                    "adl_shortfall": part(move.missed - move.bonus),
                },
            )
        )

    def touched(self, where: Where, books: Books, touch: Touch) -> None:
        """A deposit, a withdrawal, a fill, a liquidation."""
        if touch.owner != self.owner:
            return
        sizes = [
            size_of(one.shares, books.sides[one.side].scale) if one.shares else 0 for one in (touch.before, touch.after)
        ]
        held = touch.after if touch.after.shares else touch.before
        self._write(
            Row(
                where,
                touch.cause,
                held.side if held.shares else None,
                touch.mark,
                sizes[0],
                sizes[1],
                touch.before.equity,
                touch.after.equity,
                {
                    "cash": touch.cash,
                    "price_difference": touch.fill,
                    "fee": touch.fee,
                    "liquidation_fee": touch.liquidation_fee,
                    "reward": touch.reward,
                },
            )
        )

    def epoch_ended(self, where: Where, books: Books) -> None:
        """The position closes at the mark."""
        holder = books.holders.get(self.owner)
        if holder is not None and holder.shares:
            size = size_of(holder.shares, books.sides[holder.side].scale)
            row = Row(where, "epoch ended", holder.side, books.mark, size, 0, holder.equity, holder.equity)
            self._write(row)

    def _write(self, row: Row) -> None:
        self.rows += 1
        for name, amount in row.amounts.items():
            self.totals[name] += amount
        self._sheet.row(row.as_csv())
        self._text.line(row.as_text())

    def _closing_lines(self, books: Books) -> Iterator[str]:
        holder, t = books.holders.get(self.owner, Holder()), self.totals
        yield ""
        yield f"{self.rows} events touched it. In all, quote:"
        yield ""
        for name, amount in (
            ("deposited, less what was withdrawn", t["cash"]),
            ("gain of moves, after haircuts", t["gain_after_haircut"]),
            ("fills: price against mark", t["price_difference"]),
            ("rewards as a liquidator", t["reward"]),
            ("trading fees", -t["fee"]),
            ("liquidation fees", -t["liquidation_fee"]),
            ("left in closed positions", -t["forfeited"]),
            ("roundings", -t["rounding"]),
            ("equity now", holder.equity),
        ):
            yield f"    {name:36} {decimal(amount):>44}"
        yield ""
        yield f"    {'haircuts borne (in the gain already)':36} {decimal(t['haircut']):>44}"
        yield f"    {'bonuses (in the gain already)':36} {decimal(t['bonus']):>44}"
        yield f"    {'missed by deleverage (in no sum)':36} {decimal(t['adl_shortfall']):>44}"


def _kind(receipt: Receipt) -> str:
    return "funding" if receipt.funding else "price"


def _side(side: int | None) -> str:
    return "" if side is None else ("long" if side == LONG else "short")


def _time(timestamp: int) -> str:
    return datetime.fromtimestamp(timestamp, UTC).isoformat().replace("+00:00", "Z")


def _money(amount: int) -> str:
    """Two digits; more where those would say nothing; "-" for nothing."""
    value = amount / WAD
    if not amount:
        return "-"
    return f"{value:,.2f}" if abs(value) >= 0.005 else f"{value:.1e}"


def _line(cells: tuple[str, ...]) -> str:
    left = 4  # words first, then numbers
    return "".join(
        f"{cell:<{width}}" if at < left else f"{cell:>{width}}"
        for at, (cell, (_, width)) in enumerate(zip(cells, _TABLE, strict=True))
    ).rstrip()
