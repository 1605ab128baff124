"""What all parts of a replay share: the books, where the log is, what was found, and where tokens went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from prorata.audit.books import Books, Holder
from prorata.audit.eager import Move
from prorata.audit.rules import EXACT
from prorata.chain import Log
from prorata.receipts import Receipt
from prorata.twin import MAX_DUST

#: Wei by which a touch, a fill and a move may at most be rounded in the market's favour; more is a fault (S1).
TOUCH_DUST, FILL_DUST, MOVE_DUST = 2, 1, 3
#: Token units that moved: from whom, to whom, how many.
Transfer = tuple[str, str, int]


@dataclass(frozen=True)
class Where:
    """A transaction: its block, the block's second, its hash."""

    block: int
    timestamp: int
    transaction: str


@dataclass(frozen=True)
class Finding:
    """A difference between what is and what has to be.

    Attributes:
        where: the transaction; of a difference in the state of the contracts, the last one that could have caused it.
        guarantee: "S1", "S2" or "S3": what it breaks first.
        rule: which rule, in a word.
        text: what was expected and what was found.
    """

    where: Where
    guarantee: str
    rule: str
    text: str


@dataclass(frozen=True)
class Touch:
    """What one event did to one account besides what moves did: quote, 18 digits.

    Attributes:
        cause: "deposit", "withdrawal", "fill", "liquidated" or "took over".
        before, after: the account; `before` as moves had left it.
        cash: token units that came (negative: went), as quote.
        fill: what price against mark brought; fee, liquidation_fee: paid; reward: earned.
    """

    owner: str
    cause: str
    before: Holder
    after: Holder
    mark: int
    cash: int = 0
    fill: int = 0
    fee: int = 0
    liquidation_fee: int = 0
    reward: int = 0


class Watcher(Protocol):
    """Is told of everything that happens to accounts, move by move."""

    def moved(self, where: Where, books: Books, move: Move, receipt: Receipt) -> None:
        """A move that the books are about to follow."""

    def touched(self, where: Where, books: Books, touch: Touch) -> None:
        """An account that was written."""

    def epoch_ended(self, where: Where, books: Books) -> None:
        """Both sides are about to close at the mark."""


class Desk:
    """The auditor's own.

    Args:
        books: where the market stands.
        market, vault: their addresses.
        report: takes what is found.
        watchers: told of everything.

    Attributes:
        where: the transaction that is looked at.
        has_moved: whether the mark was settled in it.
    """

    def __init__(
        self, books: Books, market: str, vault: str, report: Callable[[Finding], None], watchers: Sequence[Watcher]
    ) -> None:
        self.books, self.watchers = books, watchers
        self.market, self.vault = market, vault
        self.ours = (market, vault)
        self._report = report
        self.begin(Where(0, 0, ""))

    def begin(self, where: Where) -> None:
        """Another transaction, of which nothing is known yet."""
        self.where = where
        self.has_moved = False
        self._transfers: Counter[Transfer] = Counter()
        self._stated: Counter[Transfer] = Counter()
        self._most_dust = self._roundings = 0

    def find(self, guarantee: str, rule: str, text: str) -> None:
        """Something is different in this transaction."""
        self._report(Finding(self.where, guarantee, rule, text))

    def transferred(self, log: Log) -> None:
        """The token says that units moved from one to another."""
        sender, receiver, amount = log.fields.values()
        if amount and (sender in self.ours or receiver in self.ours):
            self._transfers[sender, receiver, amount] += 1

    def expect(self, sender: str, receiver: str, amount: int) -> None:
        """An event says that token units moved from one to another."""
        if amount:
            self._stated[sender, receiver, amount] += 1

    def may_round(self, most: int, times: int = 1) -> None:
        """Something that leaves so many wei of dust at most, or takes back one that an account was under zero."""
        self._most_dust += most * times
        self._roundings += times

    def check_flows(self) -> None:
        """Tokens moved as events state, from whom and to whom; what comes beyond that is a gift, what goes a fault."""
        for sender, receiver, amount in (self._stated - self._transfers).elements():
            self.find(
                "S1", "tokens", f"{amount} token units did not go from {sender} to {receiver}, as an event states"
            )
        for sender, receiver, amount in (self._transfers - self._stated).elements():
            if sender in self.ours:
                self.find("S1", "tokens", f"{amount} token units went from {sender} to {receiver} for no stated reason")
            if receiver == self.market:
                self.books.gifts += amount * self.books.unit
            elif receiver == self.vault:
                self.books.vault_gifts += amount * self.books.unit

    def check_dust(self) -> None:
        """S1: tokens cover everybody's equity and what insurance is owed; the rest grows by roundings alone."""
        exact, rounded = self.books.sums()
        dust, before = self.books.balance - self.books.owed - rounded, self.books.exact_dust
        if not 0 <= dust <= MAX_DUST:
            self.find("S1", "conservation", f"the market has {dust} wei more than it owes (0 to {MAX_DUST})")
        self.books.exact_dust = (self.books.balance - self.books.owed) * EXACT - exact
        growth = self.books.exact_dust - before
        if not -self._roundings * EXACT <= growth <= self._most_dust * EXACT:
            text = f"{growth / EXACT:.3f} wei left everybody's books, by rounding {self._most_dust} at most"
            self.find("S1", "conservation", text)
