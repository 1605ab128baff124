"""What the page is told, as JSON. Amounts are decimal strings with all digits: a browser's numbers have sixteen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from prorata.audit.output import decimal
from prorata.exchange import SideState
from prorata.monitor.activity import Row
from prorata.monitor.curve import Curve, NextBucket, distance
from prorata.monitor.snapshot import Contracts, Snapshot
from prorata.receipts import Amounts
from prorata.units import WAD

Json = dict[str, Any]

_RATIOS = (
    *("initial_margin", "maintenance_margin", "closeout_margin", "bucket_width", "fee_rate", "price_band"),
    *("max_price_step", "liquidation_fee", "liquidator_share", "max_funding", "margin_slope"),
)
_SECONDS = ("max_staleness", "step_interval", "cooloff", "oracle_grace")


@dataclass(frozen=True)
class Seen:
    """The prices after a block, 18 digits; no index while it is refused."""

    block: int
    timestamp: int
    mark: int
    index_price: int | None


def view(
    now: Snapshot, contracts: Contracts, network: str, chain_id: int, past: Iterable[Seen], rows: Iterable[Row]
) -> Json:
    """Everything the page shows of a market.

    Args:
        past: blocks looked at, by rising number.
        rows: the latest first.
    """
    core, insurance = now.core, now.insurance
    return {
        "market": contracts.market.address,
        "vault": contracts.vault.address,
        "network": network,
        "chain_id": chain_id,
        "block": asdict(now.head),
        "mark": decimal(core.mark),
        "index": _optional(now.index_price),
        "refusal": now.refusal,
        "gap": _percent(now.gap),
        "mode": now.mode,
        "conditions": {
            "lagging": core.lagging,
            "suspect": core.suspect,
            "guarded": core.guarded,
            "closed": core.closed,
            "tripped_until": core.reduce_only_until if core.reduce_only_until > now.head.timestamp else None,
        },
        "epoch": core.epoch,
        "sides": [
            _side(side, core.mark) | {"next": _next(bucket, now)}
            for side, bucket in zip(now.sides, now.curve.next, strict=True)
        ],
        "insurance": {
            "assets": decimal(insurance.assets),
            "held": decimal(insurance.held),
            "owed": decimal(insurance.owed),
            "drawable": decimal(insurance.drawable),
            "coverage": _percent(now.coverage),
            "draw_cap": _percent(contracts.draw_cap),
            "window": _window(now, contracts.draw_window),
            "socialized": decimal(now.socialized),
            "adl_shortfall": decimal(now.adl_shortfall),
        },
        "funding": {"premium": decimal(core.premium), "due": decimal(now.curve.funding.gross)},
        "curve": _curve(now.curve, core.mark),
        "parameters": _parameters(contracts),
        "past": [[one.block, one.timestamp, decimal(one.mark), _optional(one.index_price)] for one in past],
        "rows": [asdict(row) for row in rows],
    }


def _optional(amount: int | None) -> str | None:
    return None if amount is None else decimal(amount)


def _percent(part: int | None) -> str | None:
    """A ratio of 18 digits, in percent."""
    return None if part is None else decimal(100 * part)


def _side(side: SideState, mark: int) -> Json:
    return {
        "open_interest": decimal(side.open_interest),
        "notional": decimal(side.open_interest * mark // WAD),
        "scale": decimal(side.scale),
    }


def _next(bucket: NextBucket | None, now: Snapshot) -> Json | None:
    if bucket is None:
        return None
    index = now.index_price
    return {
        "price": decimal(bucket.price),
        "from_index": None if index is None else decimal(bucket.price - index),
        "from_index_percent": None if index is None else _percent(distance(bucket.price, index)),
        "from_mark_percent": _percent(distance(bucket.price, now.core.mark)),
        "size": decimal(bucket.move.closed_size),
        "buckets": bucket.move.buckets_closed,
    }


def _window(now: Snapshot, seconds: int) -> Json | None:
    """The window of draws, if one is open."""
    insurance = now.insurance
    ends = insurance.window_start + seconds
    if not insurance.window_start or now.head.timestamp >= ends:
        return None
    return {
        "ends": ends,
        "assets": decimal(insurance.window_assets),
        "drawn": decimal(insurance.window_drawn),
    }


def _move(move: Amounts) -> Json:
    return {
        "gross": decimal(move.gross),
        "paid": decimal(move.gross - move.deficit),
        "deficit": decimal(move.deficit),
        "covered": decimal(move.covered),
        "socialized": decimal(move.socialized),
        "haircut": _percent(move.haircut),
        "surplus": decimal(move.surplus),
        "adl_shortfall": decimal(move.adl_shortfall),
        "closed_size": decimal(move.closed_size),
        "buckets": move.buckets_closed,
        "open_interest": decimal(move.open_interest),
    }


def _curve(curve: Curve, mark: int) -> Json:
    return {
        "middle": decimal(curve.middle),
        "points": [
            {
                "change": point.change,
                "price": decimal(point.price),
                "losers": None if point.price == mark else "longs" if point.price < mark else "shorts",
                **_move(point.move),
            }
            for point in curve.points
        ],
    }


def _parameters(contracts: Contracts) -> Json:
    """What a deployment fixed: ratios in percent, the rest as it is."""
    p = contracts.parameters
    return {
        **{name: [_percent(getattr(p, name)), "%"] for name in _RATIOS},
        "premium_retention": [decimal(p.premium_retention), "a second"],
        "min_notional": [decimal(p.min_notional), "quote"],
        "oi_multiple": [decimal(p.oi_multiple), "of insurance (0: no cap)"],
        **{name: [str(getattr(p, name)), "seconds"] for name in _SECONDS},
        "draw_cap": [_percent(contracts.draw_cap), "%"],
        "draw_window": [str(contracts.draw_window), "seconds"],
        "guardian": [p.guardian, ""],
    }
