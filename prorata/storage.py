"""A market read straight from its storage words: everything at once, in tens of microseconds.

For campaigns of millions of operations, where asking views would cost more than the operations themselves. The layout
of every word is that of `contracts/modules/packing.vy` and `reserve.vy`; the slots are the compiler's, looked up by
name. `tests/unit/test_storage.py` holds what is read here to what the contracts' own views say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from eth_utils.address import to_canonical_address
from eth_utils.crypto import keccak

from prorata.embedded import USUAL
from prorata.exchange import CLOSED, LAGGING, Addresses
from prorata.units import INDEX_UNIT

_LOW_128 = 2**128 - 1
_SHARES = 2**112 - 1


@dataclass(slots=True)
class SideWords:
    """One side: shares and scale 18 digits, index and top (a bound of live buckets' upper edges) 36 digits."""

    shares: int
    scale: int
    index: int
    top: int


@dataclass(slots=True)
class Holding:
    """An account at the present indices.

    Attributes:
        worth: exact quote, 54 digits; an account with shares may be a wei of quote under zero, which is rounding.
        shares: 0 if flat; then what follows means nothing.
        debt: quote, at the bucket's lower edge.
    """

    worth: int
    shares: int
    side: int
    level: int
    bucket: int
    debt: int

    @property
    def equity(self) -> int:
        """What the market says it holds: quote, rounded down, never below zero."""
        return max(self.worth // INDEX_UNIT, 0)

    @property
    def edge(self) -> int:
        """Upper edge of its bucket, 36 digits."""
        return (self.bucket + 1) << self.level


@dataclass(slots=True)
class State:
    """A whole market and its vault. Quote, prices, sizes 18 digits, times in seconds; see `IPerpetualMarket.Core`."""

    mark: int
    epoch: int
    owed: int  # what the market holds for the vault
    conditions: int
    premium: int
    accrued_at: int
    limited_at: int
    reduce_only_until: int
    sides: list[SideWords]
    holdings: list[Holding]  # in the order the reader was given their owners
    held: int  # quote in the vault
    window_start: int
    window_assets: int
    window_drawn: int
    supply: int  # vault shares
    market_balance: int  # quote, as the token says
    vault_balance: int
    socialized: int  # totals since the market began
    adl_shortfall: int

    @property
    def lagging(self) -> bool:
        """The mark has not reached the last accepted index, or funding is due at once."""
        return bool(self.conditions & LAGGING)

    @property
    def closed(self) -> bool:
        """The market was wound down."""
        return bool(self.conditions & CLOSED)


def signed(value: int, bits: int) -> int:
    """A field of two's complement as the number it stands for."""
    return value - (1 << bits) if value >> (bits - 1) else value


@cache
def slots_of(contract: str) -> dict[str, int]:
    """The slot of every storage variable of a contract, by `module.name`."""
    return dict(_flat(USUAL.storage_layout(contract), ""))


def _flat(layout: dict[str, Any], prefix: str) -> list[tuple[str, int]]:
    found = []
    for name, entry in layout.items():
        if "slot" in entry:
            found.append((prefix + name, entry["slot"]))
        else:
            found += _flat(entry, f"{name}.")
    return found


def _entry(slot: int, key: bytes) -> int:
    """The slot of a HashMap's entry."""
    return int.from_bytes(keccak(slot.to_bytes(32, "big") + key), "big")


def _address_key(address: str) -> bytes:
    return to_canonical_address(address).rjust(32, b"\0")


class Words(Protocol):
    """A chain whose storage can be read."""

    def word(self, address: str, slot: int) -> int:
        """One storage slot of a contract."""
        ...


class Reader:
    """Reads one deployment.

    Args:
        chain: the chain it lives on.
        addresses: of its contracts.
        unit: quote per token unit.
        owners: whose accounts to read; if these are all there are, sums over them are the market's.
    """

    def __init__(self, chain: Words, addresses: Addresses, unit: int, owners: Sequence[str]) -> None:
        self._word = chain.word
        self._market, self._vault, self._token = addresses.market, addresses.vault, addresses.token
        self._unit = unit
        market, vault, token = slots_of("PerpetualMarket"), slots_of("InsuranceVault"), slots_of("MockToken")
        self._at = market
        self._core = market["sides._core"]
        self._clock = market["sides._clock"]
        self._exposure, self._reach = market["sides._exposure"], market["sides._reach"]
        self._lag = market["breaker._lag"]
        self._positions = [_entry(market["accounts._positions"], _address_key(owner)) for owner in owners]
        self._anchors = [_entry(market["accounts._anchors"], _address_key(owner)) for owner in owners]
        self._totals = market["settlement.total_socialized"], market["settlement.total_adl_shortfall"]
        self._bucket_slots: dict[tuple[int, int, int], int] = {}
        self._reserve = vault["reserve._holding"], vault["reserve._window"]
        self._supply, self._shares = vault["erc20.totalSupply"], vault["erc20.balanceOf"]
        self._requests = vault["redemptions.redeem_request"]
        balances = token["erc20.balanceOf"]
        self._balances = [_entry(balances, _address_key(owner)) for owner in (self._market, self._vault)]

    def read(self) -> State:
        """Everything there is to know about the market at this moment."""
        word, market, vault = self._word, self._market, self._vault
        core, clock = word(market, self._core), word(market, self._clock)
        epoch = core >> 80 & 0xFFFFFFFF
        sides = [self._side(0), self._side(1)]
        holding, window = word(vault, self._reserve[0]), word(vault, self._reserve[1])
        return State(
            mark=core & (2**80 - 1),
            epoch=epoch,
            owed=core >> 112 & _LOW_128,
            conditions=core >> 240,
            premium=signed(clock & (2**120 - 1), 120),
            accrued_at=clock >> 120 & (2**40 - 1),
            limited_at=clock >> 160 & (2**40 - 1),
            reduce_only_until=clock >> 200 & (2**40 - 1),
            sides=sides,
            holdings=[
                self._holding(word(market, position), word(market, anchor), epoch, sides)
                for position, anchor in zip(self._positions, self._anchors, strict=True)
            ],
            held=(holding & _LOW_128) * self._unit,
            window_start=holding >> 128,
            window_assets=window & _LOW_128,
            window_drawn=window >> 128,
            supply=word(vault, self._supply),
            market_balance=word(self._token, self._balances[0]) * self._unit,
            vault_balance=word(self._token, self._balances[1]) * self._unit,
            socialized=word(market, self._totals[0]),
            adl_shortfall=word(market, self._totals[1]),
        )

    def lag(self) -> tuple[int, int, int]:
        """What a market in catch-up has still to do: last accepted index price and the target of the open step (0:
        none), 18 digits; the rest of a stopped funding move, quote per share of its payers, 36 digits."""
        index_price, target, rest = (self._word(self._market, self._lag + i) for i in range(3))
        return index_price, target, signed(rest, 256)

    def reported_at(self) -> int:
        """Since when the oracle is reported dead; meaningful while that stands."""
        return self._word(self._market, self._at["modes._reported_at"])

    def bucket(self, epoch: int, side: int, level: int, number: int) -> tuple[int, int, int]:
        """Shares, debt and generation of a bucket."""
        word = self._bucket_word(epoch << 1 | side, level, number)
        return word & _SHARES, word >> 112 & _SHARES, word >> 224

    def level(self, epoch: int, side: int, level: int) -> tuple[int, int, int]:
        """A level of buckets: the highest word of its bitmap that may be live, how many are, and the slot of both."""
        slot = _entry(self._at["buckets._levels"], ((epoch << 1 | side) << 136 | level << 128).to_bytes(32, "big"))
        word = self._word(self._market, slot)
        return signed(word & _LOW_128, 128), word >> 128, slot

    def vault_shares(self, owner: str) -> int:
        """Vault shares at an owner's disposal."""
        return self._word(self._vault, _entry(self._shares, _address_key(owner)))

    def redeem_request(self, owner: str) -> tuple[int, int, int]:
        """Shares in the queue, what they were worth (quote), when their window opens."""
        slot = _entry(self._requests, _address_key(owner))
        shares, worth, opens = (self._word(self._vault, slot + i) for i in range(3))
        return shares, worth * self._unit, opens

    def _side(self, side: int) -> SideWords:
        exposure = self._word(self._market, self._exposure + side)
        reach = self._word(self._market, self._reach + side)
        return SideWords(
            shares=exposure & _SHARES,
            scale=exposure >> 112 & (2**64 - 1),
            index=signed(reach & (2**160 - 1), 160),
            top=signed(reach >> 160, 96) << 64,
        )

    def _bucket_word(self, book: int, level: int, number: int) -> int:
        slot = self._bucket_slots.get((book, level, number))
        if slot is None:
            key = book << 136 | level << 128 | number & _LOW_128
            slot = _entry(self._at["buckets._buckets"], key.to_bytes(32, "big"))
            self._bucket_slots[book, level, number] = slot
        return self._word(self._market, slot)

    def _holding(self, position: int, anchor: int, epoch: int, sides: list[SideWords]) -> Holding:
        """As `accounts._load`: closed with its bucket, flat after its epoch, or live."""
        shares, amount = position & _SHARES, anchor & _LOW_128
        if not shares:
            return Holding(amount * INDEX_UNIT, 0, 0, 0, 0, 0)
        filed_in, level, side = position >> 144 & 0xFFFFFFFF, position >> 176 & 0xFF, position >> 184 & 0xFF
        number = signed(anchor >> 128, 128)
        book = filed_in << 1 | side
        if self._bucket_word(book, level, number) >> 224 != position >> 112 & 0xFFFFFFFF:
            return Holding(0, 0, 0, 0, 0, 0)
        if filed_in < epoch:
            final = signed(self._word(self._market, self._final_index(book)), 256)
            worth = shares * (final - (number << level)) - amount * INDEX_UNIT
            return Holding(max(worth // INDEX_UNIT, 0) * INDEX_UNIT, 0, 0, 0, 0, 0)
        worth = shares * (sides[side].index - (number << level)) - amount * INDEX_UNIT
        return Holding(worth, shares, side, level, number, amount)

    def _final_index(self, book: int) -> int:
        return _entry(self._at["sides._final_index"], book.to_bytes(32, "big"))
