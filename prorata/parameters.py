"""What a deployment fixes for good. Every default is what the scripts and the README use."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any

from prorata.units import WAD, ZERO_ADDRESS


@dataclass(frozen=True)
class MarketParameters:
    """The market's immutable parameters, field by field as in `contracts/modules/parameters.vy`.

    Ratios have 18 digits; `min_notional` is quote, 18 digits; times are seconds; `guardian` is an address. Steps are as
    large as the contracts allow, and funding, the open-interest cap, the margin slope and the cool-off are off, so that
    a scenario shows what it turns on; `guarded` turns everything on.
    """

    initial_margin: int = WAD * 5 // 100
    maintenance_margin: int = WAD * 25 // 1000
    closeout_margin: int = WAD // 100
    bucket_width: int = WAD // 1000
    fee_rate: int = WAD // 2000
    price_band: int = WAD // 20
    min_notional: int = WAD
    max_staleness: int = 3600
    max_buckets: int = 128
    max_words: int = 256
    max_price_step: int = WAD // 2
    step_interval: int = 0
    liquidation_fee: int = WAD // 100
    liquidator_share: int = WAD // 2
    premium_retention: int = WAD - WAD // 28_800  # a premium is paid in about eight hours
    max_funding: int = 0
    margin_slope: int = 0
    oi_multiple: int = 0
    cooloff: int = 0
    oracle_grace: int = 86_400
    guardian: str = ZERO_ADDRESS

    def as_tuple(self) -> tuple[Any, ...]:
        """The struct as the constructor takes it."""
        return astuple(self)

    @classmethod
    def guarded(cls, **overrides: Any) -> MarketParameters:
        """Every defence on, for a market that nobody need watch (S8): steps within the close-out margin."""
        defences = {
            "max_price_step": WAD // 100,
            "step_interval": 12,
            "max_funding": WAD // 400,
            "margin_slope": WAD // 1000,
            "oi_multiple": 20 * WAD,
            "cooloff": 3_600,
        }
        return cls(**{**defences, **overrides})


@dataclass(frozen=True)
class VaultParameters:
    """The insurance vault's immutable parameters: cap of draws (18 digits, of a window's first assets), seconds."""

    draw_cap: int = WAD // 2
    draw_window: int = 86_400
    redeem_cooldown: int = 86_400
    redeem_window: int = 172_800

    def as_tuple(self) -> tuple[int, ...]:
        """As the constructor takes them, in order."""
        return astuple(self)
