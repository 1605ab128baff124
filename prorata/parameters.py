"""What a deployment fixes for good. Every default is what the scripts and the README use."""

from __future__ import annotations

from dataclasses import astuple, dataclass

from prorata.units import WAD


@dataclass(frozen=True)
class MarketParameters:
    """The market's immutable parameters, field by field as in `contracts/modules/parameters.vy`.

    Ratios have 18 digits; `min_notional` is quote, 18 digits; `max_staleness` seconds.
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

    def as_tuple(self) -> tuple[int, ...]:
        """The struct as the constructor takes it."""
        return astuple(self)


@dataclass(frozen=True)
class VaultParameters:
    """The insurance vault's immutable parameters: cap of draws (18 digits, of a window's first assets), seconds."""

    draw_cap: int = WAD // 2
    draw_window: int = 86_400
