"""The accounts that every rule settles: who holds what, what a move of the mark does, and who has been made to pay.

A book is eager: `move` marks every position at once, so an account's equity is its claim, paid or not. A rule then
decides who goes without when an account cannot pay. Everything is exact rationals in natural units (a price of one
dollar is 1).

Two things are the same for all rules, so that a comparison shows the rules and nothing else:

- **Liquidity.** There is no outside book. Whoever is closed is closed against the other side: by the rule's own queue
  if it has one, otherwise at the mark and from everyone on the other side by one factor, which moves no money.
- **When an account is closed, and what is left of it.** At an equity below the close-out margin; what is left goes to
  insurance.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from prorata.units import LONG, SHORT

ZERO = Fraction(0)

#: What of an account a loss of others was taken from. Winners stand opposite to whom they pay for: the gain of the move
#: itself, what they had won before it, what they had deposited. Bystanders are everybody else.
GAIN, EARLIER, PRINCIPAL = "gain", "earlier", "principal"
BYSTANDER_PROFIT, BYSTANDER_PRINCIPAL = "bystander_profit", "bystander_principal"
TAKEN_FROM = (GAIN, EARLIER, PRINCIPAL, BYSTANDER_PROFIT, BYSTANDER_PRINCIPAL)


@dataclass
class Account:
    """One trader.

    Attributes:
        side: LONG or SHORT, also after its position is closed; None: never had one.
        size: units held.
        entry: price at which the position was opened.
        equity: quote, what the account could take out if everybody paid.
        deposit: quote of its own money: the principal.
        opened: size at the start.
        fresh: what is left of the gain of the last move, quote.
        taken: quote that went for others' losses, by what it was taken from.
    """

    name: str
    side: int | None
    size: Fraction
    entry: Fraction
    equity: Fraction
    deposit: Fraction
    opened: Fraction = ZERO
    fresh: Fraction = ZERO
    taken: dict[str, Fraction] = field(default_factory=lambda: dict.fromkeys(TAKEN_FROM, ZERO))

    @property
    def profit(self) -> Fraction:
        """What it has above its own money, if anything."""
        return max(self.equity - self.deposit, ZERO)

    def copy(self) -> Account:
        """An independent copy."""
        twin = copy.copy(self)
        twin.taken = dict(self.taken)
        return twin


@dataclass
class Book:
    """All accounts, insurance, and what has happened to them.

    Attributes:
        mark, previous: the price that positions are marked at, and the one before; quote per unit.
        insurance: quote that may be drawn.
        closeout: equity over notional under which a position is closed.
        reach: how many accounts keepers reach between two prices; None: all. After the last price they reach all.
        gross: what the losing sides of all moves lost, quote.
        defaults: of it, what they could not pay, by side.
        covered: what insurance paid.
        returned: of their losses, what a rule gave back to those who were closed.
        waiting: what insurance has not paid and nobody has borne yet, by side of those who could not pay.
        unborne: what nobody was left to bear.
        calls: state-changing calls until the book was sound.
        closed_bankrupt: notional of closed accounts that were worth less than nothing.
        closed_opposite: notional that was closed on the other side for closed accounts.
        failed: names of the accounts that were closed.
    """

    accounts: dict[str, Account]
    mark: Fraction
    insurance: Fraction
    closeout: Fraction = Fraction(1, 100)
    reach: int | None = None
    previous: Fraction = ZERO
    gross: Fraction = ZERO
    defaults: dict[int, Fraction] = field(default_factory=lambda: {LONG: ZERO, SHORT: ZERO})
    covered: Fraction = ZERO
    returned: Fraction = ZERO
    waiting: dict[int, Fraction] = field(default_factory=lambda: {LONG: ZERO, SHORT: ZERO})
    unborne: Fraction = ZERO
    calls: int = 0
    closed_bankrupt: Fraction = ZERO
    closed_opposite: Fraction = ZERO
    failed: list[str] = field(default_factory=list)

    def copy(self) -> Book:
        """An independent copy."""
        twin = copy.copy(self)
        twin.accounts = {name: account.copy() for name, account in self.accounts.items()}
        twin.failed = list(self.failed)
        twin.waiting = dict(self.waiting)
        twin.defaults = dict(self.defaults)
        return twin

    # ------------------------------------------------------------------------------------------------------ reading

    def holders(self, side: int) -> list[Account]:
        """Everyone with a position on a side."""
        return [account for account in self.accounts.values() if account.size and account.side == side]

    def open_interest(self, side: int) -> Fraction:
        """Total size of a side."""
        return sum((account.size for account in self.holders(side)), ZERO)

    def wealth(self) -> Fraction:
        """All claims and insurance: what no rule may change, once it is done."""
        return sum((account.equity for account in self.accounts.values()), self.insurance)

    @property
    def missing(self) -> Fraction:
        """What losers could not pay, quote."""
        return sum(self.defaults.values(), ZERO)

    def fails(self, name: str) -> bool:
        """Whether an account has to be closed."""
        account = self.accounts[name]
        return account.equity < account.size * self.mark * self.closeout or account.equity < 0

    # -------------------------------------------------------------------------------------------------------- moves

    def move(self, price: Fraction) -> None:
        """Mark everybody to a price."""
        distance = price - self.mark
        self.previous, self.mark = self.mark, price
        for account in self.accounts.values():
            change = account.size * distance * (1 if account.side == LONG else -1)
            account.equity += change
            account.fresh = max(change, ZERO)
            self.gross += max(-change, ZERO)

    def close(self, account: Account) -> None:
        """Close a position at the mark, from everyone on the other side by one factor. No money moves."""
        if not account.size:
            return
        opposite = self.holders(1 - account.side)  # type: ignore[operator]  # whoever holds a position has a side
        total = sum((one.size for one in opposite), ZERO)
        factor = (total - account.size) / total
        for one in opposite:
            one.size *= factor
        self.closed_opposite += account.size * self.mark
        account.size = ZERO

    def retire(self, account: Account) -> None:
        """Close an account that is worth at least nothing; what is left goes to insurance."""
        self.failed.append(account.name)
        self.insurance += account.equity
        account.equity = ZERO
        self.close(account)

    def default(self, account: Account) -> Fraction:
        """Write off what an account is under zero that will now be closed; returns it. Its position is the caller's."""
        self.failed.append(account.name)
        self.closed_bankrupt += account.size * self.mark
        return self.write_off(account)

    def write_off(self, account: Account) -> Fraction:
        """Write a negative account up to zero; returns what is missing.

        What it had been charged for others' losses and cannot pay was never paid: that is taken back first.
        """
        assert account.side is not None, "only a position makes a debt"
        deficit = -account.equity
        account.equity = ZERO
        own = deficit
        for source in reversed(TAKEN_FROM):
            unpaid = min(own, account.taken[source])
            account.taken[source] -= unpaid
            own -= unpaid
        self.defaults[account.side] += own
        return deficit

    def cover(self, deficit: Fraction) -> Fraction:
        """Let insurance pay what it can; returns what it paid."""
        paid = min(deficit, self.insurance)
        self.insurance -= paid
        self.covered += paid
        return paid

    def charge(self, account: Account, amount: Fraction, causes: Mapping[int, Fraction]) -> None:
        """Take quote from an account for what others could not pay.

        Args:
            causes: by side of those who could not pay, in any unit; the amount is split in this proportion.
        """
        total = sum(causes.values(), ZERO)
        for side, weight in causes.items():
            part = amount * weight / total
            if account.side == 1 - side:
                gain = min(part, account.fresh)
                earlier = min(part - gain, max(account.profit - account.fresh, ZERO))
                account.fresh -= gain
                account.taken[GAIN] += gain
                account.taken[EARLIER] += earlier
                account.taken[PRINCIPAL] += part - gain - earlier
            else:
                profit = min(part, account.profit)
                account.taken[BYSTANDER_PROFIT] += profit
                account.taken[BYSTANDER_PRINCIPAL] += part - profit
            account.equity -= part


def opposite(side: int) -> int:
    """The other side."""
    return SHORT if side == LONG else LONG
