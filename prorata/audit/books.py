"""Everything a market is, as its event log implies it: accounts, buckets, sides, funding, the vault and its queue.

An account's worth is kept as exact quote of 54 digits and changed by every move, so what it holds is known to the last
digit at every moment. The whole state goes to JSON and back, which is how an audit is broken off and goes on.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from prorata.audit.rules import EXACT, Filing, clamp, payer, power, size_of, truncated, upper_edge
from prorata.exchange import CLOSED, GUARDED
from prorata.parameters import MarketParameters, VaultParameters
from prorata.units import LONG, MIN_SCALE, SHORT, WAD

#: Of the vault's share price: virtual shares and token units (`InsuranceVault.vy`).
SHARE_OFFSET = 10**6
#: Where no bucket is: far below any index.
NO_PEAK = -(2**158)


@dataclass(slots=True)
class Flows:
    """What an account's worth is made of, exact quote, each since the log's beginning.

    Attributes:
        deposited, withdrawn: token units as quote.
        price, funding: won (negative: lost) by moves, after haircuts.
        fills: what fills brought against the mark (price against mark, rounded down).
        fees, liquidation_fees: paid.
        rewards: earned as a liquidator.
        forfeited: what was left when its bucket was closed; negative: what it was short of, which others bore.
        rounding: what touching, filing and the ends of epochs took.
        haircut: gain it did not get because losers and insurance could not pay; no part of the worth.
        adl_shortfall: what it missed by being deleveraged at a lagging mark; no part of the worth.
    """

    deposited: int = 0
    withdrawn: int = 0
    price: int = 0
    funding: int = 0
    fills: int = 0
    fees: int = 0
    liquidation_fees: int = 0
    rewards: int = 0
    forfeited: int = 0
    rounding: int = 0
    haircut: int = 0
    adl_shortfall: int = 0

    @property
    def worth(self) -> int:
        """What all of it adds up to, exact quote."""
        gained = self.deposited + self.price + self.funding + self.fills + self.rewards
        lost = self.withdrawn + self.fees + self.liquidation_fees + self.forfeited + self.rounding
        return gained - lost


@dataclass(slots=True)
class Holder:
    """An account.

    Attributes:
        worth: exact quote; of a flat account whole wei. One with shares may be a wei under zero, which is rounding.
        shares: 0 if flat; then side, level, bucket and debt mean nothing.
        debt: quote at the bucket's lower edge.
        written: the transaction that wrote it last.
    """

    worth: int = 0
    side: int = LONG
    shares: int = 0
    level: int = 0
    bucket: int = 0
    debt: int = 0
    written: str = ""
    flows: Flows = field(default_factory=Flows)

    @property
    def equity(self) -> int:
        """Quote, rounded down, nothing at least; its collateral after a touch."""
        return max(self.worth // EXACT, 0)

    @property
    def edge(self) -> int:
        """Upper edge of its bucket, index units."""
        return upper_edge(self.level, self.bucket)

    @property
    def place(self) -> tuple[int, int]:
        """Its bucket on its side: level and number."""
        return self.level, self.bucket

    def flatten(self, equity: int) -> None:
        """Without a position, and with so much quote."""
        self.worth, self.shares = equity * EXACT, 0


@dataclass(slots=True)
class Pool:
    """A side: shares and scale 18 digits, index 36.

    Attributes:
        peak: the highest upper edge that was filed in this epoch, index units.
        levels: of the buckets that were.
    """

    shares: int = 0
    scale: int = WAD
    index: int = 0
    peak: int = NO_PEAK
    levels: list[int] = field(default_factory=list)

    @property
    def open_interest(self) -> int:
        """Size, rounded down."""
        return size_of(self.shares, self.scale)


@dataclass(slots=True)
class Queued:
    """Vault shares of one controller on their way out: their worth at request in token units, opening in seconds."""

    shares: int
    worth: int
    opens: int


@dataclass
class Vault:
    """The insurance vault: token units held, the window of draws (quote), shares and requests by address."""

    held: int = 0
    supply: int = 0
    window_start: int = 0
    window_assets: int = 0
    window_drawn: int = 0
    shares: dict[str, int] = field(default_factory=dict)
    requests: dict[str, Queued] = field(default_factory=dict)


@dataclass
class Totals:
    """What all moves did so far, quote as receipts state it, and how much of everything there was."""

    gross: int = 0
    deficit: int = 0
    covered: int = 0
    surplus: int = 0
    bonus: int = 0
    socialized: int = 0
    adl_shortfall: int = 0
    funding: int = 0
    to_insurance: int = 0
    fees: int = 0
    liquidation_fees: int = 0
    rewards: int = 0
    deposited: int = 0
    withdrawn: int = 0
    moves: int = 0
    buckets_closed: int = 0
    accounts_closed: int = 0
    epochs: int = 0
    fills: int = 0
    liquidations: int = 0
    stopped_by_words: int = 0


@dataclass
class Books:
    """A market and its vault.

    Attributes:
        unit: quote per token unit.
        owed: what the market holds for the vault, quote.
        balance: tokens the market has by the flows that events state, quote.
        gifts, vault_gifts: tokens sent to market and vault without a deposit, quote; they count for nothing.
        premium: funding still to be paid by longs (negative: by shorts) as it decays, quote.
        rest: what a stopped funding move left, quote per share of its payers, 36 digits; sign as of the premium.
        step_target: where a step ends that the budget stopped half-way; 0: none.
        accepted: the index price that the last move was going to.
        reported_at: since when the oracle is reported dead; 0: it is not, or a move has followed.
        closed_price: of a closed market; 0: it is open.
        exact_dust: what the balance is beyond all worth and what is owed, exact quote, after the last transaction.
        generations: how often each bucket of this epoch was closed, by side, level and number.
        sides: longs and shorts; `holders` has every account, `active` those with shares by side.
    """

    p: MarketParameters
    v: VaultParameters
    unit: int
    mark: int
    accrued_at: int
    epoch: int = 0
    owed: int = 0
    balance: int = 0
    gifts: int = 0
    vault_gifts: int = 0
    premium: int = 0
    rest: int = 0
    step_target: int = 0
    limited_at: int = 0
    reduce_only_until: int = 0
    accepted: int = 0
    guarded: bool = False
    reported_at: int = 0
    closed_price: int = 0
    exact_dust: int = 0
    sides: tuple[Pool, Pool] = field(default_factory=lambda: (Pool(), Pool()))
    vault: Vault = field(default_factory=Vault)
    totals: Totals = field(default_factory=Totals)
    holders: dict[str, Holder] = field(default_factory=dict)
    generations: dict[tuple[int, int, int], int] = field(default_factory=dict)
    active: tuple[dict[str, Holder], dict[str, Holder]] = field(default_factory=lambda: ({}, {}))

    # ------------------------------------------------------------------------------------------------------- accounts

    def holder(self, owner: str) -> Holder:
        """An account, opened empty if it is new."""
        return self.holders.setdefault(owner, Holder())

    def place(self, owner: str, side: int, shares: int, filing: Filing | None, collateral: int) -> None:
        """Write an account: position, bucket and collateral (quote); side totals follow."""
        holder = self.holder(owner)
        if holder.shares:
            self.sides[holder.side].shares -= holder.shares
            del self.active[holder.side][owner]
        if not shares or filing is None:
            holder.flatten(collateral)
            return
        holder.side, holder.shares = side, shares
        holder.level, holder.bucket, holder.debt = filing.level, filing.bucket, filing.debt
        pool = self.sides[side]
        holder.worth = shares * (pool.index - (filing.bucket << filing.level)) - filing.debt * EXACT
        pool.shares += shares
        pool.peak = max(pool.peak, holder.edge)
        if holder.level not in pool.levels:
            pool.levels.append(holder.level)
        self.active[side][owner] = holder

    def end_epoch(self) -> int:
        """Both sides close at the mark; what each account then holds is whole wei. Returns how many were open."""
        ended = 0
        for members in self.active:
            for holder in members.values():
                kept = holder.equity
                holder.flows.rounding += holder.worth - kept * EXACT
                holder.flatten(kept)
                ended += 1
            members.clear()
        for pool in self.sides:
            pool.shares, pool.scale, pool.index, pool.peak = 0, WAD, 0, NO_PEAK
            pool.levels.clear()
        self.generations.clear()
        self.epoch += 1
        self.totals.epochs += 1
        return ended

    def sums(self) -> tuple[int, int]:
        """What all accounts are worth: exact quote, and quote with each account rounded down."""
        exact = rounded = 0
        for holder in self.holders.values():
            exact += holder.worth
            if holder.worth > 0:
                rounded += holder.worth // EXACT
        return exact, rounded

    # -------------------------------------------------------------------------------------------------------- funding

    def accrue(self, now: int) -> tuple[int, int]:
        """The premium as it has decayed by now, and what is due per share of its payers, 36 digits (design §9)."""
        premium, due = self.premium, self.rest
        if premium:
            left = power(self.p.premium_retention, now - self.accrued_at)
            premium = truncated(premium * left, EXACT)
            shares = self.sides[payer(self.premium)].shares
            due += truncated((self.premium - premium) * EXACT, shares) if shares else 0
        pool = self.sides[payer(due)]
        if not pool.shares:
            return premium, 0
        return premium, clamp(due, self.p.max_funding * pool.scale * self.mark // WAD)

    def bound_premium(self) -> None:
        """Open interest carries at most `max_funding` of its value."""
        value = self.sides[payer(self.premium)].open_interest * self.mark // WAD
        self.premium = clamp(self.premium, value * self.p.max_funding // WAD)

    # --------------------------------------------------------------------------------------------------------- modes

    @property
    def is_closed(self) -> bool:
        """Wound down."""
        return self.closed_price > 0

    @property
    def conditions(self) -> int:
        """Those bits of the contract's that follow from the log alone: the guardian's, and closed."""
        return (GUARDED if self.guarded else 0) | (CLOSED if self.is_closed else 0)

    def is_reduce_only(self, now: int) -> bool:
        """By the guardian or by a trip."""
        return self.guarded or now < self.reduce_only_until

    # --------------------------------------------------------------------------------------------------------- vault

    @property
    def assets(self) -> int:
        """What the vault's shares are worth together, token units."""
        return self.vault.held + self.owed // self.unit

    @property
    def insured(self) -> int:
        """All that stands behind the market, quote."""
        return self.vault.held * self.unit + self.owed

    def shares_for(self, assets: int, up: bool = False) -> int:
        """Vault shares for token units."""
        product = assets * (self.vault.supply + SHARE_OFFSET)
        return -(-product // (self.assets + 1)) if up else product // (self.assets + 1)

    def assets_for(self, shares: int, up: bool = False) -> int:
        """Token units for vault shares."""
        product, all_shares = shares * (self.assets + 1), self.vault.supply + SHARE_OFFSET
        return -(-product // all_shares) if up else product // all_shares

    def drawable(self, now: int) -> int:
        """What the vault may pay now, quote: the cap of the window, and of what is there (design §7)."""
        most = self.insured * self.v.draw_cap // WAD
        if self._window_is_over(now):
            return most
        return min(self.vault.window_assets * self.v.draw_cap // WAD - self.vault.window_drawn, most)

    def draw(self, amount: int, now: int) -> int:
        """Pay quote out of insurance: first of what it is owed, the rest in whole units. Returns the units sent."""
        vault = self.vault
        if self._window_is_over(now):
            vault.window_start, vault.window_assets, vault.window_drawn = now, self.insured, 0
        vault.window_drawn += amount
        sent = -(-max(amount - self.owed, 0) // self.unit)
        vault.held -= sent
        self.owed += sent * self.unit - amount
        self.balance += sent * self.unit
        return sent

    def _window_is_over(self, now: int) -> bool:
        start = self.vault.window_start
        return start == 0 or now >= start + self.v.draw_window

    # ---------------------------------------------------------------------------------------------------------- JSON

    def to_json(self) -> dict[str, Any]:
        """Everything, in what JSON knows."""
        found = {
            name: getattr(self, name)
            for name in self.__dataclass_fields__
            if name not in ("p", "v", "sides", "vault", "totals", "holders", "generations", "active")
        }
        return found | {
            "p": asdict(self.p),
            "v": asdict(self.v),
            "sides": [asdict(pool) for pool in self.sides],
            "vault": asdict(self.vault),
            "totals": asdict(self.totals),
            "holders": {owner: asdict(holder) for owner, holder in self.holders.items()},
            "generations": [[*place, count] for place, count in self.generations.items()],
        }

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Books:
        """As `to_json` gave it."""
        vault = dict(found["vault"])
        vault["requests"] = {owner: Queued(**one) for owner, one in vault["requests"].items()}
        holders = {owner: Holder(**{**one, "flows": Flows(**one["flows"])}) for owner, one in found["holders"].items()}
        books = cls(
            **{
                **found,
                "p": MarketParameters(**found["p"]),
                "v": VaultParameters(**found["v"]),
                "sides": tuple(Pool(**pool) for pool in found["sides"]),
                "vault": Vault(**vault),
                "totals": Totals(**found["totals"]),
                "holders": holders,
                "generations": {(side, level, bucket): count for side, level, bucket, count in found["generations"]},
            }
        )
        for owner, holder in holders.items():
            if holder.shares:
                books.active[holder.side][owner] = holder
        return books


def is_over(loser: Pool, winner: Pool, closed_shares: int, max_index: int) -> bool:
    """Whether a move ends the epoch; the sides as it leaves them (design §3)."""
    empty = closed_shares > 0 and not loser.shares
    return empty or winner.scale < MIN_SCALE or loser.index < -max_index or winner.index > max_index


def other(side: int) -> int:
    """The other side."""
    return SHORT if side == LONG else LONG
