"""The judge of the contracts: the market settled eagerly, account by account, in exact rationals.

Written from the settlement design, not from the contracts. Every move visits every account; there is no lazy state,
no packing and no rounding but the five that the design makes part of the rule: a bucket edge is a multiple of 2**level
index units, the distance of a limited or stopped price move has 18 digits, the vault pays in whole token units, vault
shares are whole, and time is whole seconds.

Everything is in natural units (a price of one dollar is 1). `Refused` carries the same reason as the contracts' revert.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal, localcontext
from fractions import Fraction
from math import floor

from prorata.parameters import MarketParameters, VaultParameters
from prorata.units import INDEX_UNIT, LONG, SHORT, WAD

#: Sizes that differ by less than this part of the smallest position in value count as equal.
DUST_PART = Fraction(1, 10**6)
#: Below this scale both sides close and start again.
MIN_SCALE = Fraction(1, 10**4)
MAX_OPEN_INTEREST = Fraction(2**96, WAD)
#: A haircut that makes the market reduce-only.
TRIP = Fraction(1, 10**4)
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
    funding: bool
    distance: Fraction
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


@dataclass(frozen=True)
class RedeemRequest:
    """Vault shares on their way out.

    Attributes:
        shares: in the vault's custody.
        worth: quote, whole token units: their value when they were requested, the most they bring.
        opens: second at which the cooldown is over and the window opens.
    """

    shares: int
    worth: Fraction
    opens: int


@dataclass
class Vault:
    """Insurance: whole token units held, the window of draws, and who owns it."""

    parameters: VaultParameters
    unit: Fraction  # quote per token unit
    held: Fraction = Fraction(0)  # quote, a multiple of `unit`
    supply: int = 0  # shares
    window_start: int = 0
    window_assets: Fraction = Fraction(0)
    window_drawn: Fraction = Fraction(0)
    shares: dict[str, int] = field(default_factory=dict)  # at their owners' disposal
    requests: dict[str, RedeemRequest] = field(default_factory=dict)

    def copy(self) -> Vault:
        """An independent copy."""
        twin = copy.copy(self)
        twin.shares, twin.requests = dict(self.shares), dict(self.requests)
        return twin

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


@dataclass(frozen=True)
class Trade:
    """One fill: `is_long` is what the maker becomes; size in units, price quote per unit."""

    maker: str
    taker: str
    is_long: bool
    size: Fraction
    price: Fraction
    reduce_only: bool = False


@dataclass(frozen=True)
class _Party:
    """One side of a trade before its money moves: who, its position after, and whether that only shrank."""

    owner: str
    side: int
    size: Fraction
    reduced: bool


@dataclass
class Model:
    """A market and its vault.

    Args:
        parameters: of the market.
        vault: of the insurance vault.
        mark: first mark, quote per unit.
        decimals: of the collateral token.

    Attributes:
        premium: funding still to be paid by longs (negative: by shorts) as it decays, quote.
        funding_rest: funding due at once, that a stopped move left; per unit, sign as of the premium.
        step_target: where a limited step ends that the budget stopped half-way.
        price_halt, funding_halt: the mark where the next price move ends, and how much per unit the next funding takes,
            because the contracts' budget of bitmap words ends there. Words are no part of the rule, so whoever compares
            the two may have to say it.
        accepted: the last accepted index price.
        refusal: why the oracle's answer is refused at the moment, if it is.
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
    premium: Fraction = Fraction(0)
    funding_rest: Fraction = Fraction(0)
    step_target: Fraction | None = None
    price_halt: Fraction | None = None
    funding_halt: Fraction | None = None
    accrued_at: int = 0
    limited_at: int = 0
    reduce_only_until: int = 0
    guarded: bool = False
    reported_at: int | None = None  # since when the oracle is reported dead, if nobody has settled since
    closed: bool = False

    def __post_init__(self) -> None:
        self.sides = [Side(), Side()]
        self.vault = Vault(self.vault_parameters, Fraction(1, 10**self.decimals))
        self.accepted = self.index_price = self.mark
        self.now = 0
        self.refusal: str | None = None

    def copy(self) -> Model:
        """An independent copy: to try an operation on."""
        twin = copy.copy(self)
        twin.accounts = {owner: copy.copy(account) for owner, account in self.accounts.items()}
        twin.sides = [copy.copy(side) for side in self.sides]
        twin.vault = self.vault.copy()
        twin.outcomes = list(self.outcomes)
        return twin

    def observe(self, index_price: Fraction, now: int, refusal: str | None = None) -> None:
        """What the oracle says, or why its answer is refused, and what time it is, for the operations that follow."""
        self.index_price, self.now, self.refusal = index_price, now, refusal

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

    @property
    def lagging(self) -> bool:
        """Catch-up: the mark has not reached the last accepted index, or funding is due at once."""
        return self.mark != self.accepted or self.funding_rest != 0

    @property
    def is_reduce_only(self) -> bool:
        """By the guardian or by a trip."""
        return self.guarded or self.now < self.reduce_only_until

    def _ratio(self, name: str) -> Fraction:
        return Fraction(getattr(self.parameters, name), WAD)

    # --------------------------------------------------------------------------------------------------- settlement

    def settle(self) -> None:
        """Pay the funding that is due, then move the mark to the index price, or as far as one call may.

        Raises:
            Refused: by the oracle.
        """
        if not self.closed:
            if self.refusal:
                raise Refused(self.refusal)
            self.accepted = self.index_price
        self.reported_at = None
        budget = self.parameters.max_buckets

        due = self._funding_due()
        self.funding_rest = Fraction(0)
        if due:
            distance = abs(due) if self.funding_halt is None else self.funding_halt
            paid = self._move(LONG if due > 0 else SHORT, distance, 0, budget)
            budget -= min(paid.buckets_closed, budget)
            if paid.stopped or self.funding_halt is not None:
                self.funding_rest = (abs(due) - paid.distance) * (1 if due > 0 else -1)
        waits = self.now < self.limited_at + self.parameters.step_interval
        if not self.funding_rest and self.accepted != self.mark and not waits:
            self._step(budget)
        if not self.lagging:
            self.step_target = None
        if self.closed and not self.lagging and (self.members(LONG) or self.members(SHORT)):
            self._end_epoch()
        self._bound_premium()

    def _step(self, budget: int) -> None:
        """One price move towards the accepted index, at most `max_price_step` of the mark."""
        direction = 1 if self.accepted > self.mark else -1
        most = Fraction(floor(self.mark * self._ratio("max_price_step") * WAD), WAD)
        distance = min(abs(self.accepted - self.mark), most)
        open_step = (self.step_target - self.mark) * direction if self.step_target is not None else Fraction(0)
        if open_step > 0:  # what a stopped step left goes on, and is no new one
            distance = min(distance, open_step)
        target = self.mark + direction * distance
        if self.price_halt is not None:
            distance = abs(self.price_halt - self.mark)
        moved = self._move(SHORT if direction > 0 else LONG, distance, direction, budget)
        limited, stopped = target != self.accepted, moved.stopped or self.price_halt is not None
        self.step_target = target if limited and stopped else None
        if limited and not stopped:
            self.limited_at = self.now

    def _settle_fully(self) -> None:
        """Settle for an operation that needs the mark to be the index price."""
        self.settle()
        if self.lagging:
            raise Refused("mode: catch-up")

    # ------------------------------------------------------------------------------------------------------ funding

    def _funding_due(self) -> Fraction:
        """Let the premium decay up to now; what is due per unit, positive if longs pay."""
        due = self.funding_rest
        if self.premium:
            payer = LONG if self.premium > 0 else SHORT
            left = self.premium * _power(self.parameters.premium_retention, self.now - self.accrued_at)
            due += (self.premium - left) / self.open_interest(payer)
            self.premium = left
        self.accrued_at = self.now
        if not self.members(LONG if due > 0 else SHORT):
            return Fraction(0)
        most = self._ratio("max_funding") * self.mark
        return max(min(due, most), -most)

    def _bound_premium(self) -> None:
        """Open interest carries at most `max_funding` of its value."""
        payer = LONG if self.premium > 0 else SHORT
        most = self.open_interest(payer) * self.mark * self._ratio("max_funding")
        self.premium = _trimmed(max(min(self.premium, most), -most))

    # --------------------------------------------------------------------------------------------------------- move

    def _move(self, loser: int, distance: Fraction, direction: int, budget: int) -> Outcome:
        """One side loses `distance` per unit of size to the other; `direction` of the mark: -1, 0 (funding), 1."""
        winner = 1 - loser
        mark_before = self.mark
        losers, winners = self.members(loser), self.members(winner)
        losing_size, winning_size = (self.open_interest(loser), self.open_interest(winner))
        distance, stopped, closing = self._close_outs(loser, losers, distance, direction, budget)

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

        # What deleveraged winners miss while the mark lags the index: if everybody closes here, of everybody's size.
        factor = (losing_size - closed_size) / losing_size if closed_size else Fraction(1)
        ended = bool(closed_size == losing_size > 0) or self.sides[winner].scale * factor < MIN_SCALE
        gap = (self.accepted - self.mark) * (1 if winner == LONG else -1)
        missed = (losing_size if ended else closed_size) * max(gap, Fraction(0)) if winners else Fraction(0)
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
            self.sides[winner].scale *= factor
            for _, account in winners:
                account.size *= factor
        if ended:
            self._end_epoch()
        self._trim()
        if gross and deficit - covered >= TRIP * gross:
            self.reduce_only_until = self.now + self.parameters.cooloff
        outcome = Outcome(
            loser=loser,
            funding=direction == 0,
            distance=distance,
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
        self.outcomes.append(outcome)
        return outcome

    def _close_outs(
        self, loser: int, losers: Iterable[tuple[str, Account]], distance: Fraction, direction: int, budget: int
    ) -> tuple[Fraction, bool, set[Fraction]]:
        """Which buckets a move closes, and how far it gets.

        Returns:
            The distance of the move; whether it was stopped; the upper edges of the buckets that close.
        """
        side, co = self.sides[loser], self._ratio("closeout_margin")

        def threshold(moved: Fraction) -> Fraction:
            return side.index - side.scale * moved - co * side.scale * (self.mark + direction * moved)

        closing: set[Fraction] = set()
        buckets = sorted({(account.edge, account.level) for _, account in losers}, reverse=True)
        for count, (edge, _) in enumerate(buckets):
            if edge <= threshold(distance):
                break
            if count >= budget and edge not in closing:
                # The largest distance that keeps the threshold at or above this bucket's edge; of a price in 18 digits.
                room = (threshold(Fraction(0)) - edge) / (side.scale * (1 + direction * co))
                if direction:
                    room = Fraction(floor(room * WAD), WAD)
                return max(room, Fraction(0)), True, closing
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

    def trade(self, trades: Iterable[Trade]) -> None:
        """Settle, then make each trade.

        Raises:
            Refused: by an order, the mode, the price band, margin, minimum size or a bound on open interest.
        """
        trades = list(trades)
        for one in trades:
            if not one.size:
                raise Refused("order: zero size")
            if one.maker == one.taker:
                raise Refused("order: self-fill")
        self._settle_fully()
        if self.closed:
            raise Refused("mode: closed")
        for one in trades:
            self._match(one)
            self._bound_premium()

    def _match(self, one: Trade) -> None:
        if one.size >= MAX_OPEN_INTEREST:
            raise Refused("position: out of range")
        if abs(one.price - self.mark) > self.mark * self._ratio("price_band"):
            raise Refused("order: price outside band")
        before = max(self.open_interest(LONG), self.open_interest(SHORT))
        maker = self._adjusted(one.maker, one.is_long, one.size)
        taker = self._adjusted(one.taker, not one.is_long, one.size)
        if one.reduce_only and not maker.reduced:
            raise Refused("order: not reduce-only")
        after = self._interest_with(maker, taker)
        if after >= MAX_OPEN_INTEREST:
            raise Refused("position: out of range")
        ratio = self.initial_margin(after, after > before, maker.reduced and taker.reduced)

        to_buyer = (self.mark - one.price) * one.size
        fees = Fraction(0)
        for party, receives in ((maker, to_buyer if one.is_long else -to_buyer), (taker, None)):
            money = receives if receives is not None else (-to_buyer if one.is_long else to_buyer)
            fees += self._complete(party, money, one.size, ratio)
        self.owed += fees
        # What a fill moves in funding is at most what its parties paid in fees.
        self.premium += max(min(-to_buyer, fees), -fees)

    def initial_margin(self, interest: Fraction, grew: bool, only_reduced: bool) -> Fraction:
        """Of new risk, by what stands behind it; after mode and cap have been checked."""
        base, slope = self._ratio("initial_margin"), self._ratio("margin_slope")
        multiple = self._ratio("oi_multiple")
        if only_reduced:
            return base
        if self.is_reduce_only:
            raise Refused("mode: reduce-only")
        if not slope and not multiple:
            return base
        insured, exposure = self.vault.held + self.owed, interest * self.mark
        if grew and multiple and exposure > insured * multiple + self.leniency * max(multiple, Fraction(1)):
            raise Refused("margin: open interest cap")
        return min(base + slope * exposure / (insured + Fraction(1, WAD)), Fraction(1))

    def _adjusted(self, owner: str, is_long: bool, size: Fraction) -> _Party:
        """A party's position after buying or selling `size`."""
        account = self.account(owner)
        side = LONG if is_long else SHORT
        if not account.size or account.side == side:
            new_side, new_size = side, account.size + size
        elif abs(size - account.size) * self.mark <= DUST_PART * Fraction(self.parameters.min_notional, WAD):
            new_side, new_size = account.side, Fraction(0)
        elif size < account.size:
            new_side, new_size = account.side, account.size - size
        else:
            new_side, new_size = side, size - account.size
        reduced = bool(account.size) and (not new_size or (new_side == account.side and new_size < account.size))
        return _Party(owner, new_side, new_size, reduced)

    def _interest_with(self, *parties: _Party) -> Fraction:
        """Open interest, the larger side, once these parties stand as they will."""
        interest = [self.open_interest(LONG), self.open_interest(SHORT)]
        for party in parties:
            account = self.account(party.owner)
            interest[account.side] -= account.size
            interest[party.side] += party.size
        return max(interest)

    def _complete(self, party: _Party, receives: Fraction, charged: Fraction, ratio: Fraction) -> Fraction:
        """The money of one party, its margin, its filing; returns the fee on `charged` units that it could pay."""
        account = self.account(party.owner)
        collateral = account.collateral + receives
        if collateral + self.leniency < 0:
            raise Refused("margin: not enough collateral")
        fee = min(charged * self.mark * self._ratio("fee_rate"), max(collateral, Fraction(0)))
        collateral -= fee
        if party.size:
            notional = self._require_minimum(party.size)
            healthy = account.size and (collateral + self.leniency) / notional >= account.collateral / (
                account.size * self.mark
            )
            if party.reduced and not healthy:
                raise Refused("margin: less healthy than before")
            if not party.reduced and collateral + self.leniency < notional * ratio:
                raise Refused("margin: below initial")
        self._put(account, party, collateral)
        return fee

    def _require_minimum(self, size: Fraction) -> Fraction:
        """Notional of a position, which must not be too small."""
        notional = size * self.mark
        if notional + self.leniency < Fraction(self.parameters.min_notional, WAD):
            raise Refused("position: below minimum")
        return notional

    def _put(self, account: Account, party: _Party, collateral: Fraction) -> None:
        account.collateral, account.side, account.size = collateral, party.side, party.size
        if party.size:
            self._file(account, self._narrower_level(account) if party.reduced else self._level(self.sides[party.side]))

    # -------------------------------------------------------------------------------------------------- liquidation

    def liquidate(self, liquidator: str, owner: str, size: Fraction) -> Fraction:
        """Take over up to `size` of a position below maintenance, at the mark; returns how much.

        Raises:
            Refused: by the oracle, a healthy account, the liquidator's margin, a remainder below the minimum.
        """
        self.settle()
        account = self.account(owner)
        if owner == liquidator:
            raise Refused("liquidation: own account")
        below = self._is_below(account, self.mark)
        if self.lagging:
            below = below and self._is_below(account, self.accepted)
        if not below:
            raise Refused("liquidation: healthy account")
        taken = min(size, self._liquidable(account))
        if not taken:
            raise Refused("order: zero size")

        is_long = account.side == LONG
        victim = self._adjusted(owner, not is_long, taken)
        # The fee leaves the account as healthy as it was.
        fee = min(
            taken * self.mark * self._ratio("liquidation_fee"),
            account.collateral * (account.size - victim.size) / account.size,
        )
        reward = fee * self._ratio("liquidator_share")
        if victim.size:
            self._require_minimum(victim.size)
        self._put(account, victim, account.collateral - fee)
        taker = self._adjusted(liquidator, is_long, taken)
        self._complete(taker, reward, Fraction(0), self._ratio("initial_margin"))
        self.owed += fee - reward
        self._bound_premium()
        return taken

    def _is_below(self, account: Account, price: Fraction) -> bool:
        """Whether an account holds less than maintenance margin at a price."""
        moved = (price - self.mark) * account.size * (1 if account.side == LONG else -1)
        return account.collateral + moved < account.size * price * self._ratio("maintenance_margin") + self.leniency

    def _liquidable(self, account: Account) -> Fraction:
        """What brings an account back to initial margin, its fee paid; all of it if nothing less does."""
        initial, fee = self._ratio("initial_margin"), self._ratio("liquidation_fee")
        notional = account.size * self.mark
        # collateral - fee * s * mark = initial * (size - s) * mark
        limit = (initial * notional - account.collateral) / ((initial - fee) * self.mark)
        minimum = Fraction(self.parameters.min_notional, WAD)
        limit = max(limit, minimum / self.mark)
        rest = (account.size - limit) * self.mark
        return limit if rest + self.leniency >= minimum else account.size

    # -------------------------------------------------------------------------------------------------------- modes

    def set_reduce_only(self, on: bool) -> None:
        """The guardian's switch."""
        self.guarded = on

    def wind_down(self) -> None:
        """Report a dead oracle; once it has been dead for the grace period, close the market at the last index.

        Raises:
            Refused: the oracle is alive, the grace period is not over, or the market is closed already.
        """
        if self.closed:
            raise Refused("mode: closed")
        if not self.refusal:
            raise Refused("mode: oracle is alive")
        if self.reported_at is None:
            self.reported_at = self.now
        elif self.now < self.reported_at + self.parameters.oracle_grace:
            raise Refused("mode: oracle grace")
        else:
            self.closed = True

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

    def insure(self, amount: Fraction, insurer: str = "0") -> int:
        """Deposit whole token units into the vault; returns the shares.

        Raises:
            Refused: nothing, or too little for a share, or the market is closed.
        """
        self._settle_fully()
        if self.closed:
            raise Refused("mode: closed")
        shares = floor(amount / self.share_price)
        if not amount or not shares:
            raise Refused("vault: zero assets or shares")
        self.vault.held += amount
        self.vault.supply += shares
        self.vault.shares[insurer] = self.vault.shares.get(insurer, 0) + shares
        return shares

    def request_redeem(self, insurer: str, shares: int) -> None:
        """Put shares into the queue. With those already there they are one request, valued now, that waits anew.

        Raises:
            Refused: more shares than there are, or all together worth less than a token unit.
        """
        self._settle_fully()
        vault = self.vault
        if shares > vault.shares.get(insurer, 0):
            raise Refused("erc20: transfer amount exceeds balance")
        waiting = vault.requests[insurer].shares if insurer in vault.requests else 0
        worth = vault.units((waiting + shares) * self.share_price)
        if worth <= 0:
            raise Refused("vault: zero assets or shares")
        vault.shares[insurer] = vault.shares.get(insurer, 0) - shares
        vault.requests[insurer] = RedeemRequest(waiting + shares, worth, self.now + vault.parameters.redeem_cooldown)

    def cancel_redeem(self, insurer: str) -> None:
        """Take a request back, at whatever stage it is.

        Raises:
            Refused: there is none.
        """
        request = self.vault.requests.pop(insurer, None)
        if request is None:
            raise Refused("vault: nothing requested")
        self.vault.shares[insurer] += request.shares

    def redeem(self, insurer: str, shares: int) -> Fraction:
        """Redeem shares of an open request for whole token units, returned as quote.

        They bring the lesser of their part of what the request was worth and of what they are worth now.

        Raises:
            Refused: no request or not its time, more than was requested, or too few shares for a token unit.
        """
        self._settle_fully()
        vault, request = self.vault, self.vault.requests.get(insurer)
        if request is None:
            raise Refused("vault: nothing requested")
        if self.now < request.opens:
            raise Refused("vault: cooldown is not over")
        if self.now >= request.opens + vault.parameters.redeem_window:
            raise Refused("vault: redeem window has lapsed")
        amount = vault.units(min(request.worth * shares / request.shares, shares * self.share_price))
        if amount <= 0:
            raise Refused("vault: zero assets or shares")
        left = request.shares - shares
        if left < 0:
            raise Refused("vault: more than requested")
        del vault.requests[insurer]
        if left:
            vault.requests[insurer] = replace(
                request, shares=left, worth=vault.units(request.worth * left / request.shares)
            )
        if amount > vault.held:
            swept = vault.units(self.owed)
            self.owed -= swept
            vault.held += swept
        vault.held -= amount
        vault.supply -= shares
        return amount


def _trimmed(x: Fraction) -> Fraction:
    if x.denominator.bit_length() <= _MAX_DENOMINATOR_BITS:
        return x
    return Fraction(floor(x * 2**_FRACTION_BITS), 2**_FRACTION_BITS)


def _power(ratio: int, n: int) -> Fraction:
    """An 18-digit ratio to the power of n, good to 80 digits."""
    with localcontext() as context:
        context.prec = 80
        return Fraction((Decimal(ratio) / WAD) ** n)
