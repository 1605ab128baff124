"""A market as it stands after one block, read through its public views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from eth_abi.exceptions import DecodingError
from eth_utils.address import to_checksum_address

from prorata.chain import Chain, Contract, Head, Reverted, View
from prorata.exchange import CoreState, SideState, mode_of
from prorata.keeper import NoMarket, market_parameters
from prorata.monitor import curve
from prorata.monitor.curve import Curve
from prorata.parameters import MarketParameters
from prorata.units import WAD


class Node(Chain, Protocol):
    """A chain whose blocks have hashes, and whose views can be read as they were after a block: `ApeChain`."""

    @property
    def head(self) -> Head:
        """The last block."""
        ...

    def block_hash(self, number: int) -> str | None:
        """Of a block; None if there is none."""
        ...

    def views(self, block: int, asked: Sequence[View]) -> list[Any]:
        """Many views, all as they were after that block.

        Raises:
            Reverted: one of them refused.
        """
        ...


@dataclass(frozen=True)
class Contracts:
    """A market and its insurance vault, and what their deployment fixed: draw cap 18 digits, window in seconds."""

    market: Contract
    vault: Contract
    parameters: MarketParameters
    unit: int  # quote per token unit
    draw_cap: int
    draw_window: int

    @classmethod
    def find(cls, chain: Chain, address: str) -> Contracts:
        """What stands at an address; the vault is the one that the market itself names.

        Raises:
            NoMarket: something else, or nothing.
        """
        market = chain.at("PerpetualMarket", to_checksum_address(address))
        parameters = market_parameters(chain, market)
        try:
            vault = chain.at("InsuranceVault", chain.call(market, "INSURANCE"))
            cap, window = (int(chain.call(vault, name)) for name in ("draw_cap", "draw_window"))
            unit = int(chain.call(market, "TOKEN_SCALE"))
        except (Reverted, DecodingError):
            raise NoMarket(f"no market at {market.address}") from None
        return cls(market, vault, parameters, unit, cap, window)


@dataclass(frozen=True)
class Insurance:
    """What stands behind the market, quote.

    Attributes:
        held: by the vault itself.
        owed: by the market, to the vault.
        drawable: what a settlement may draw now.
        window_start: of the last window of draws, seconds; 0: nothing was ever drawn.
        window_assets: what there was then.
        window_drawn: what was drawn in it.
    """

    held: int
    owed: int
    drawable: int
    window_start: int
    window_assets: int
    window_drawn: int

    @property
    def assets(self) -> int:
        """All of it."""
        return self.held + self.owed


@dataclass(frozen=True)
class Snapshot:
    """A market after one block.

    Attributes:
        head: the block.
        index_price: 18 digits; None while the oracle's answer is refused.
        refusal: why it is; empty otherwise.
        sides: longs and shorts.
        socialized, adl_shortfall: what winners went without since the market began, quote.
    """

    head: Head
    core: CoreState
    index_price: int | None
    refusal: str
    sides: tuple[SideState, SideState]
    insurance: Insurance
    socialized: int
    adl_shortfall: int
    curve: Curve

    @property
    def mode(self) -> str:
        """As `MarketLens.mode`, in words."""
        return mode_of(self.core, self.index_price, self.head.timestamp)

    @property
    def gap(self) -> int | None:
        """How far the mark is from the index, a part of the index, 18 digits; None without an index."""
        return None if self.index_price is None else curve.distance(self.core.mark, self.index_price)

    @property
    def coverage(self) -> int | None:
        """Insurance over the value of open interest at the mark, 18 digits; None if nothing is open."""
        value = max(side.open_interest for side in self.sides) * self.core.mark // WAD
        return self.insurance.assets * WAD // value if value else None


def look(node: Node, contracts: Contracts, head: Head, last: Snapshot | None = None) -> Snapshot:
    """Read a market as it is after a block, and its loss curve around the index (or the mark, while that is refused).

    Args:
        last: an earlier one, which makes the search for the next buckets short.

    Raises:
        Reverted, DecodingError: the market is not there any more.
    """
    market, vault = contracts.market, contracts.vault
    core_words, longs, shorts, socialized, adl_shortfall, held, start, assets, drawn = node.views(
        head.number,
        [
            (market, "core"),
            (market, "side", 0),
            (market, "side", 1),
            (market, "total_socialized"),
            (market, "total_adl_shortfall"),
            *((vault, name) for name in ("held", "window_start", "window_assets", "window_drawn")),
        ],
    )
    core = CoreState(*core_words)
    index_price, refusal = None, ""
    try:
        index_price = int(node.views(head.number, [(market, "index_price")])[0])
    except Reverted as refused:
        refusal = refused.reason or "no answer"
    (drawable,) = node.views(head.number, [(vault, "drawable", core.insurance_owed)])

    def previews(prices: Sequence[int]) -> list[Any]:
        return node.views(head.number, [(market, "preview_settlement", price) for price in prices])

    return Snapshot(
        head=head,
        core=core,
        index_price=index_price,
        refusal=refusal,
        sides=(SideState(*longs), SideState(*shorts)),
        insurance=Insurance(held * contracts.unit, core.insurance_owed, drawable, start, assets, drawn),
        socialized=socialized,
        adl_shortfall=adl_shortfall,
        curve=curve.read(previews, core.mark, index_price or core.mark, last.curve if last else None),
    )
