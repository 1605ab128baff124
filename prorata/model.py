"""The judge of the contracts: the market settled eagerly, account by account, in exact rationals.

Written from the settlement design, not from the contracts. Every move visits every account; there is no lazy state,
no packing and no rounding but the four that the design makes part of the rule: a bucket edge is a multiple of 2**level
index units, a stopped move's distance has 18 digits, the vault pays in whole token units, and vault shares are whole.

Everything is in natural units (a price of one dollar is 1). `Refused` carries the same reason as the contracts' revert.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from math import floor

from prorata.parameters import MarketParameters, VaultParameters
from prorata.units import INDEX_UNIT, LONG, SHORT, WAD

#: Sizes that differ by less than this part of the smallest position in value count as equal.
DUST_PART = Fraction(1, 10**6)
#: Below this scale both sides close and start again.
MIN_SCALE = Fraction(1, 10**4)
MAX_OPEN_INTEREST = Fraction(2**96, WAD)
#: Virtual shares and assets of the vault.
SHARE_OFFSET = 10**6

# Deleverage multiplies denominators. Past this many bits a number is rounded to 2**-_FRACTION_BITS: an error of about
# 1e-150, far under anything compared here, that keeps a long campaign's numbers from growing without end.
_MAX_DENOMINATOR_BITS = 1024
_FRACTION_BITS = 512


class Refused(Exception):
    """The rules forbid it. The message is the contracts' revert reason; the model may be half-way: try on a copy."""


@dataclass
class Account:
    """One trader.

    Attributes:
        collateral: quote; equal to equity, since every move is settled at once.
        side: LONG or SHORT; meaningless while `size` is 0.
        size: units held.
        level: bucket level, log2 of the width in index units of 1e-36.
        edge: upper edge of the account's bucket, quote per share.
    """

    collateral: Fraction = Fraction(0)
    side: int = LONG
    size: Fraction = Fraction(0)
    level: int = 0
    edge: Fraction = Fraction(0)


@dataclass
class Side:
    """What a side needs to place its accounts in buckets: size per share, and quote per share."""

    scale: Fraction = Fraction(1)
    index: Fraction = Fraction(0)


@dataclass(frozen=True)
class Outcome:
    """One settled move, in quote; the model's own receipt."""

    loser: int
    mark_before: Fraction
    mark_after: Fraction
    gross: Fraction
    deficit: Fraction
    covered: Fraction
    surplus: Fraction
    bonus: Fraction
    adl_shortfall: Fraction
    closed_size: Fraction
    closed: tuple[str, ...]
    buckets_closed: int
    stopped: bool
    epoch_ended: bool

    @property
    def haircut(self) -> Fraction:
        """The part of their gain that winners did not get, 0..1."""
        return (self.deficit - self.covered) / self.gross if self.gross else Fraction(0)


@dataclass
class Vault:
    """Insurance: whole token units held, and the window of draws."""

    parameters: VaultParameters
    unit: Fraction  # quote per token unit
    held: Fraction = Fraction(0)  # quote, a multiple of `unit`
    supply: int = 0  # shares
    window_start: int = 0
    window_assets: Fraction = Fraction(0)
    window_drawn: Fraction = Fraction(0)

    def units(self, amount: Fraction) -> Fraction:
        """The whole token units in an amount, as quote."""
        return self.unit * floor(amount / self.unit)

    def _window_is_over(self, now: int) -> bool:
        return self.window_start == 0 or now >= self.window_start + self.parameters.draw_window

    def drawable(self, owed: Fraction, now: int) -> Fraction:
        """What may be drawn at `now`, quote: the cap of the window, and never more than the cap of what is left."""
        cap = Fraction(self.parameters.draw_cap, WAD)
        available = cap * (self.held + owed)
        if not self._window_is_over(now):
            available = min(available, cap * self.window_assets - self.window_drawn)
        return max(Fraction(floor(available * WAD), WAD), Fraction(0))  # the vault counts in wei

    def draw(self, covered: Fraction, owed: Fraction, now: int) -> Fraction:
        """Pay `covered`, first out of `owed`, the rest in whole units; returns what is owed afterwards."""
        if self._window_is_over(now):
            self.window_start, self.window_drawn = now, Fraction(0)
            self.window_assets = self.held + owed
        self.window_drawn += covered
        sent = -self.units(-max(covered - owed, Fraction(0)))
        self.held -= sent
        return owed + sent - covered


@dataclass
class Model:
    """A market and its vault.

    Args:
        parameters: of the market.
        vault: of the insurance vault.
        mark: first mark, quote per unit.
        decimals: of the collateral token.
    """

    parameters: MarketParameters
    vault_parameters: VaultParameters
    mark: Fraction
    decimals: int = 18
    accounts: dict[str, Account] = field(default_factory=dict)
    owed: Fraction = Fraction(0)  # fees and surplus the market holds for the vault
    epoch: int = 0
    outcomes: list[Outcome] = field(default_factory=list)  # every move so far
    leniency: Fraction = Fraction(0)  # quote by which a margin may be missed (or, negative, must be exceeded)

    def __post_init__(self) -> None:
        self.sides = [Side(), Side()]
        self.vault = Vault(self.vault_parameters, Fraction(1, 10**self.decimals))
        self.index_price, self.now = self.mark, 0

    def copy(self) -> Model:
        """An independent copy: to try an operation on."""
        twin = copy.copy(self)
        twin.accounts = {owner: copy.copy(account) for owner, account in self.accounts.items()}
        twin.sides = [copy.copy(side) for side in self.sides]
        twin.vault = copy.copy(self.vault)
        twin.outcomes = list(self.outcomes)
        return twin

    def observe(self, index_price: Fraction, now: int) -> None:
        """What the oracle says, and what time it is (seconds), for the operations that follow."""
        self.index_price, self.now = index_price, now

    # ------------------------------------------------------------------------------------------------------ reading

    def account(self, owner: str) -> Account:
        """The account, opened empty if it is new."""
        return self.accounts.setdefault(owner, Account())

    def members(self, side: int) -> list[tuple[str, Account]]:
        """Everyone with a position on a side."""
        return [(owner, account) for owner, account in self.accounts.items() if account.size and account.side == side]

    def open_interest(self, side: int) -> Fraction:
        """Total size of a side."""
        return sum((account.size for _, account in self.members(side)), Fraction(0))

    def total_equity(self) -> Fraction:
        """Everything the market owes its traders."""
        return sum((account.collateral for account in self.accounts.values()), Fraction(0))

    def _ratio(self, name: str) -> Fraction:
        return Fraction(getattr(self.parameters, name), WAD)

    # --------------------------------------------------------------------------------------------------- settlement

    def settle(self) -> None:
        """Move the mark to the index price, or as far as one call's budget of buckets allows."""
        if self.index_price != self.mark:
            direction = 1 if self.index_price > self.mark else -1
            loser = SHORT if direction > 0 else LONG
            self.outcomes.append(self._move(loser, abs(self.index_price - self.mark), direction))

    def _settle_fully(self) -> None:
        """Settle for an operation that needs the mark to be the index price."""
        self.settle()
        if self.mark != self.index_price:
            raise Refused("mode: catch-up")

    def _move(self, loser: int, distance: Fraction, direction: int) -> Outcome:
        """One side loses `distance` per unit of size to the other; `direction` of the mark: -1, 0 (funding), 1."""
        winner = 1 - loser
        mark_before = self.mark
        losers, winners = self.members(loser), self.members(winner)
        losing_size, winning_size = (self.open_interest(loser), self.open_interest(winner))
        distance, stopped, closing = self._close_outs(loser, losers, distance, direction)

        self.mark += direction * distance
        self.sides[loser].index -= self.sides[loser].scale * distance
        for _, account in losers:
            account.collateral -= account.size * distance
        gross = losing_size * distance

        # Close whole buckets; what is left in them meets what is missing.
        closed = [(owner, account) for owner, account in losers if account.edge in closing]
        value = sum((account.collateral for _, account in closed), Fraction(0))
        closed_size = sum((account.size for _, account in closed), Fraction(0))
        deficit, surplus = max(-value, Fraction(0)), max(value, Fraction(0))
        for _, account in closed:
            account.collateral = account.size = Fraction(0)

        # What deleveraged winners miss while the mark lags the index.
        missed = closed_size * abs(self.index_price - self.mark) if direction and winners else Fraction(0)
        bonus = min(surplus, missed)
        self.owed += surplus - bonus

        covered = Fraction(0)
        if deficit and winners:
            covered = min(deficit, self.vault.drawable(self.owed, self.now))
        if covered:
            self.owed = self.vault.draw(covered, self.owed, self.now)

        gain = gross - deficit + covered + bonus
        if winners:
            self.sides[winner].index += gain / winning_size * self.sides[winner].scale
            for _, account in winners:
                account.collateral += gain * account.size / winning_size
        else:
            self.owed += gain

        # Pro-rata deleverage: one factor for everyone.
        if closed_size:
            factor = (losing_size - closed_size) / losing_size
            self.sides[winner].scale *= factor
            for _, account in winners:
                account.size *= factor
        ended = bool(closed_size == losing_size > 0) or self.sides[winner].scale < MIN_SCALE
        if ended:
            self._end_epoch()
        self._trim()
        return Outcome(
            loser=loser,
            mark_before=mark_before,
            mark_after=self.mark,
            gross=gross,
            deficit=deficit,
            covered=covered,
            surplus=surplus,
            bonus=bonus,
            adl_shortfall=missed - bonus,
            closed_size=closed_size,
            closed=tuple(owner for owner, _ in closed),
            buckets_closed=len({(account.level, account.edge) for _, account in closed}),
            stopped=stopped,
            epoch_ended=ended,
        )

    def _close_outs(
        self, loser: int, losers: Iterable[tuple[str, Account]], distance: Fraction, direction: int
    ) -> tuple[Fraction, bool, set[Fraction]]:
        """Which buckets a move closes, and how far it gets.

        Returns:
            The distance of the move; whether it was stopped; the upper edges of the buckets that close.
        """
        side, co = self.sides[loser], self._ratio("closeout_margin")

        def threshold(moved: Fraction) -> Fraction:
            return side.index - side.scale * moved - co * side.scale * (self.mark + direction * moved)

        closing: set[Fraction] = set()
        budget = self.parameters.max_buckets
        buckets = sorted({(account.edge, account.level) for _, account in losers}, reverse=True)
        for count, (edge, _) in enumerate(buckets):
            if edge <= threshold(distance):
                break
            if count >= budget and edge not in closing:
                # The largest distance, in 18 digits, that keeps the threshold at or above this bucket's edge.
                room = (threshold(Fraction(0)) - edge) / (side.scale * (1 + direction * co))
                return max(Fraction(floor(room * WAD), WAD), Fraction(0)), True, closing
            closing.add(edge)
        return distance, False, closing

    def _end_epoch(self) -> None:
        """Both sides close at the mark, gains kept; scales and indices start again."""
        for account in self.accounts.values():
            account.size = Fraction(0)
        self.sides = [Side(), Side()]
        self.epoch += 1

    def _trim(self) -> None:
        for account in self.accounts.values():
            account.collateral, account.size = (_trimmed(account.collateral), _trimmed(account.size))
        for side in self.sides:
            side.scale, side.index = _trimmed(side.scale), _trimmed(side.index)
        self.owed = _trimmed(self.owed)

    # -------------------------------------------------------------------------------------------------- collateral

    def deposit(self, owner: str, amount: Fraction, by_owner: bool = True) -> None:
        """Add collateral; somebody else's deposit leaves an account with a position in its bucket level.

        Raises:
            Refused: nothing to add.
        """
        if not amount:
            raise Refused("account: zero amount")
        account = self.account(owner)
        account.collateral += amount
        if account.size:
            self._file(account, self._narrower_level(account) if by_owner else account.level)

    def withdraw(self, owner: str, amount: Fraction) -> None:
        """Take collateral out; a position is settled first and must keep its initial margin.

        Raises:
            Refused: nothing, or more than is free.
        """
        if not amount:
            raise Refused("account: zero amount")
        account = self.account(owner)
        if account.size:
            self._settle_fully()
        left = account.collateral - amount
        required = account.size * self.mark * self._ratio("initial_margin") if account.size else Fraction(0)
        if left + self.leniency < required:
            raise Refused("account: above free collateral")
        account.collateral = left
        if account.size:
            self._file(account, self._narrower_level(account))

    # -------------------------------------------------------------------------------------------------------- fills

    def fill(
        self, maker: str, taker: str, is_long: bool, size: Fraction, price: Fraction, reduce_only: bool = False
    ) -> None:
        """Settle, then trade `size` at `price`; `is_long` is what the maker becomes.

        Raises:
            Refused: by the order, the price band, margin, minimum size or the bound on open interest.
        """
        if size >= MAX_OPEN_INTEREST:
            raise Refused("position: out of range")
        if not size:
            raise Refused("order: zero size")
        if maker == taker:
            raise Refused("order: self-fill")
        self._settle_fully()
        if abs(price - self.mark) > self.mark * self._ratio("price_band"):
            raise Refused("order: price outside band")
        to_buyer = (self.mark - price) * size
        self._trade(maker, is_long, size, to_buyer if is_long else -to_buyer, reduce_only)
        self._trade(taker, not is_long, size, -to_buyer if is_long else to_buyer, False)
        if max(self.open_interest(LONG), self.open_interest(SHORT)) >= MAX_OPEN_INTEREST:
            raise Refused("position: out of range")

    def _trade(self, owner: str, is_long: bool, size: Fraction, receives: Fraction, reduce_only: bool) -> None:
        account = self.account(owner)
        old_side, old_size, old_collateral = (account.side, account.size, account.collateral)
        side = LONG if is_long else SHORT
        if not old_size or old_side == side:
            new_side, new_size = side, old_size + size
        elif abs(size - old_size) * self.mark <= DUST_PART * Fraction(self.parameters.min_notional, WAD):
            new_side, new_size = old_side, Fraction(0)
        elif size < old_size:
            new_side, new_size = old_side, old_size - size
        else:
            new_side, new_size = side, size - old_size

        reduced = bool(old_size) and (not new_size or (new_side == old_side and new_size < old_size))
        if reduce_only and not reduced:
            raise Refused("order: not reduce-only")
        collateral = old_collateral + receives
        if collateral + self.leniency < 0:
            raise Refused("margin: not enough collateral")
        fee = min(size * self.mark * self._ratio("fee_rate"), max(collateral, Fraction(0)))
        collateral -= fee
        if new_size:
            notional = new_size * self.mark
            if notional + self.leniency < Fraction(self.parameters.min_notional, WAD):
                raise Refused("position: below minimum")
            if reduced and (collateral + self.leniency) / notional < old_collateral / (old_size * self.mark):
                raise Refused("margin: less healthy than before")
            if not reduced and collateral + self.leniency < notional * self._ratio("initial_margin"):
                raise Refused("margin: below initial")
        account.collateral, account.side, account.size = collateral, new_side, new_size
        self.owed += fee
        if new_size:
            self._file(account, self._narrower_level(account) if reduced else self._level(self.sides[new_side]))

    # ------------------------------------------------------------------------------------------------------ buckets

    def _level(self, side: Side) -> int:
        """floor(log2(width * scale * mark)) in index units of 1e-36."""
        return floor(self._ratio("bucket_width") * side.scale * self.mark * INDEX_UNIT).bit_length() - 1

    def _narrower_level(self, account: Account) -> int:
        """Where an account is filed that adds no risk: never in wider buckets than before."""
        return min(account.level, self._level(self.sides[account.side]))

    def _file(self, account: Account, level: int) -> None:
        """Place an account by the index value at which it runs out."""
        side = self.sides[account.side]
        shares = account.size / side.scale
        bankruptcy = side.index - account.collateral / shares
        width = Fraction(2**level, INDEX_UNIT)
        account.level = level
        account.edge = (floor(bankruptcy / width) + 1) * width

    # -------------------------------------------------------------------------------------------------------- vault

    @property
    def vault_assets(self) -> Fraction:
        """What the vault's shares are worth together, quote, in whole token units."""
        # Redeeming the last unit may have gone the contracts' way (see `Twin.redeem`): an empty vault is empty.
        return max(self.vault.held + self.vault.units(self.owed), Fraction(0))

    @property
    def share_price(self) -> Fraction:
        """Quote per vault share."""
        return (self.vault_assets + self.vault.unit) / (self.vault.supply + SHARE_OFFSET)

    def insure(self, amount: Fraction) -> int:
        """Deposit whole token units into the vault; returns the shares.

        Raises:
            Refused: nothing, or too little for a share.
        """
        self._settle_fully()
        shares = floor(amount / self.share_price)
        if not amount or not shares:
            raise Refused("vault: zero assets or shares")
        self.vault.held += amount
        self.vault.supply += shares
        return shares

    def uninsure(self, shares: int) -> Fraction:
        """Redeem vault shares for whole token units, returned as quote.

        Raises:
            Refused: nothing, or too few for a token unit.
        """
        self._settle_fully()
        amount = self.vault.units(shares * self.share_price)
        if not amount or not shares:
            raise Refused("vault: zero assets or shares")
        if amount > self.vault.held:
            swept = self.vault.units(self.owed)
            self.owed -= swept
            self.vault.held += swept
        self.vault.held -= amount
        self.vault.supply -= shares
        return amount


def _trimmed(x: Fraction) -> Fraction:
    if x.denominator.bit_length() <= _MAX_DENOMINATOR_BITS:
        return x
    return Fraction(floor(x * 2**_FRACTION_BITS), 2**_FRACTION_BITS)
