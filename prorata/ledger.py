"""The market's books, kept from its event log alone (design §10): no view of the market is ever asked.

Feed it every event from the market's deployment on, in order, and it holds every account's balance, both sides, the
mark, what is owed to insurance and what winners have lost to the wei, as the contract's views would say. It is
bookkeeping, not a second market: what an event states is taken from it, and what it only implies (debt at filing,
equity now, exact surplus) follows by the rules of `modules/buckets.vy` and `modules/settlement.vy`.

An account is one record whatever it does, and nothing is kept of events once they are booked. Where two events tell the
same thing twice, both are compared; a log with a hole or a change in it does not add up and is refused.

No event states the token's decimals: they follow from the first deposit, which is told in token units and in quote.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from prorata.chain import Log
from prorata.exchange import AccountState, SideState
from prorata.receipts import Receipt
from prorata.units import INDEX_UNIT, LONG, MIN_SCALE, SHORT, WAD

_EMPTY = AccountState(equity=0, side=LONG, shares=0, level=0, bucket=0)


class LedgerError(ValueError):
    """The log contradicts itself, or does not begin with the market's deployment."""


@dataclass(frozen=True)
class Totals:
    """What settlements have done since deployment, quote, as their receipts round it (losses up, the rest down).

    Attributes:
        gross: what losing sides lost.
        deficit: the part of it that closed accounts could not pay.
        covered: the part of the deficit that insurance paid.
        socialized: the rest of the deficit, which winners did not get.
        adl_shortfall: what winners missed who were deleveraged at a lagging mark.
        settlements: how many moves, of price and funding.
        buckets_closed: in all of them.
        accounts_closed: in those buckets.
    """

    gross: int = 0
    deficit: int = 0
    covered: int = 0
    socialized: int = 0
    adl_shortfall: int = 0
    settlements: int = 0
    buckets_closed: int = 0
    accounts_closed: int = 0


@dataclass
class _Record:
    """An account as last filed. `amount`: quote; collateral of a flat account, else debt at the bucket's lower edge."""

    amount: int = 0
    side: int = LONG
    shares: int = 0
    level: int = 0
    bucket: int = 0

    @property
    def place(self) -> tuple[int, int, int]:
        """The bucket, of the present epoch."""
        return self.side, self.level, self.bucket


@dataclass
class _Side:
    """Shares and scale 18 digits, index 36."""

    shares: int = 0
    scale: int = WAD
    index: int = 0


@dataclass
class _Closing:
    """Buckets closed by the move whose receipt is still to come; value is exact quote at the index before the move."""

    shares: int = 0
    value: int = 0
    buckets: int = 0


@dataclass
class _Touch:
    """The last account written: quote before and after."""

    owner: str = ""
    before: int = 0
    after: int = 0


@dataclass
class Ledger:
    """The books of one market.

    Attributes:
        market: its address; None takes the first market that the log deploys.
        vault: its insurance vault, whose `Covered` belongs to the books.
        mark: quote per size.
        epoch: how often both sides have started afresh.
        insurance_owed: what the market holds for the vault, quote.
        token_balance: what the market holds altogether, quote.
        guarded: the guardian made the market reduce-only.
        closed_price: where a closed market is settled to; None while it is open.
        totals: since deployment.
    """

    market: str | None = None
    vault: str | None = None
    mark: int = 0
    epoch: int = 0
    insurance_owed: int = 0
    token_balance: int = 0
    guarded: bool = False
    closed_price: int | None = None
    totals: Totals = Totals()
    _unit: int | None = None
    _sides: tuple[_Side, _Side] = field(default_factory=lambda: (_Side(), _Side()))
    _records: dict[str, _Record] = field(default_factory=dict)
    _members: defaultdict[tuple[int, int, int], set[str]] = field(default_factory=lambda: defaultdict(set))
    _closing: _Closing = field(default_factory=_Closing)
    _touch: _Touch = field(default_factory=_Touch)

    # ----------------------------------------------------------------------------------------------------- the books

    @property
    def accounts(self) -> list[str]:
        """Everybody who ever had a balance, by address, in the order they came."""
        return list(self._records)

    def account(self, owner: str) -> AccountState:
        """An account at the present mark, as the market's `account` view."""
        record = self._records.get(owner)
        if record is None:
            return _EMPTY
        if not record.shares:
            return replace(_EMPTY, equity=record.amount)
        return AccountState(self._equity(record), record.side, record.shares, record.level, record.bucket)

    def side(self, side: int) -> SideState:
        """Longs (0) or shorts (1), as the market's `side` view."""
        seen = self._sides[side]
        return SideState(seen.shares, seen.scale, seen.index, seen.shares * seen.scale // WAD)

    @property
    def sum_equity(self) -> int:
        """Quote, each account rounded down."""
        return sum(self.account(owner).equity for owner in self._records)

    @property
    def dust(self) -> int:
        """What the market holds beyond what it owes to traders and insurance (S1): roundings, quote."""
        return self.token_balance - self.sum_equity - self.insurance_owed

    @property
    def unit(self) -> int:
        """Quote per token unit, as the first deposit showed.

        Raises:
            LedgerError: nobody has deposited yet.
        """
        if self._unit is None:
            raise LedgerError("no deposit yet, so the token's decimals are not known")
        return self._unit

    # ------------------------------------------------------------------------------------------------------- booking

    def read(self, logs: Iterable[Log]) -> Ledger:
        """Book many events; the ledger itself."""
        for log in logs:
            self.feed(log)
        return self

    def feed(self, log: Log) -> None:
        """Book one event; events of other contracts are passed over.

        Raises:
            LedgerError: it contradicts the events before it. The books are then worth nothing.
        """
        if log.address == self.vault and log.name == "Covered":
            self._covered(log)
        elif self._is_mine(log):
            book = _BOOKINGS.get(log.name)
            if book is None:
                raise LedgerError(f"an event unknown to the ledger: {log.name}")
            book(self, log)

    def _is_mine(self, log: Log) -> bool:
        """Whether it is the market's; events before its deployment mean that the log's beginning is missing."""
        deploys = log.name == "Deployed"
        if self.market is None and (deploys or log.name in _BOOKINGS):
            self.market = log.address
        if log.address != self.market:
            return False
        if deploys == (self.vault is not None):
            raise LedgerError("deployed twice" if deploys else f"the log begins with {log.name}, after the deployment")
        return True

    def _deployed(self, log: Log) -> None:
        self.mark, self.vault = log.fields["mark"], log.fields["insurance"]

    # ------------------------------------------------------------------------------------------------------ accounts

    def _equity(self, record: _Record) -> int:
        """`buckets._equity`: quote, rounded down, nothing at least."""
        above_edge = self._sides[record.side].index - (record.bucket << record.level)
        return max(record.shares * above_edge // INDEX_UNIT - record.amount, 0)

    def _account_updated(self, log: Log) -> None:
        """An account was written: leaves its bucket and is filed anew, `buckets._locate`."""
        owner, fields = log.fields["account"], log.fields
        self._touch = _Touch(owner, self.account(owner).equity, fields["collateral"])
        old = self._records.get(owner, _Record())
        if old.shares:
            self._sides[old.side].shares -= old.shares
            self._leave(owner, old)

        new = _Record(fields["collateral"])
        if fields["shares"]:
            epoch, place = place_of(fields["bucket_id"])
            if epoch != self.epoch:
                raise LedgerError(f"{owner} is filed in epoch {epoch}, not in {self.epoch}")
            side, level, bucket = place
            new = _Record(0, side, fields["shares"], level, bucket)
            above_edge = self._sides[new.side].index - (new.bucket << new.level)
            new.amount = -(-new.shares * above_edge // INDEX_UNIT) - fields["collateral"]
            if new.amount < 0:
                raise LedgerError(f"{owner} is filed above its bankruptcy index")
            self._sides[new.side].shares += new.shares
            self._members[new.place].add(owner)
        self._records[owner] = new

    def _leave(self, owner: str, record: _Record) -> None:
        members = self._members[record.place]
        members.remove(owner)
        if not members:
            del self._members[record.place]

    def _deposited(self, log: Log) -> None:
        owner, amount = log.fields["account"], log.fields["amount"]
        gained = self._touch.after - self._touch.before
        if self._unit is None:
            self._unit = gained // amount
        if self._touch.owner != owner or gained != amount * self._unit:
            raise LedgerError(f"a deposit of {amount} token units brought {owner} another amount")
        self.token_balance += gained

    def _withdrawn(self, log: Log) -> None:
        owner, amount = log.fields["account"], log.fields["amount"]
        if self._touch.owner != owner or self._touch.before - self._touch.after != amount * self.unit:
            raise LedgerError(f"a withdrawal of {amount} token units cost {owner} another amount")
        self.token_balance -= amount * self.unit

    def _traded(self, log: Log) -> None:
        self.insurance_owed += log.fields["maker_fee"] + log.fields["taker_fee"]

    def _liquidated(self, log: Log) -> None:
        self.insurance_owed += log.fields["fee"] - log.fields["reward"]

    # ---------------------------------------------------------------------------------------------------- settlement

    def _bucket_closed(self, log: Log) -> None:
        """Everybody in it has nothing left; what they were worth is summed for the receipt."""
        epoch, place = place_of(log.fields["bucket_id"])
        shares, debt = held_of(log)
        closed = [self._records[owner] for owner in self._members.pop(place, ())]
        held = sum(record.shares for record in closed), sum(record.amount for record in closed)
        if epoch != self.epoch or held != (shares, debt):
            raise LedgerError(f"bucket {place} of epoch {epoch} held {held}, not {shares, debt}")
        side, level, bucket = place
        self._closing.shares += shares
        self._closing.value += shares * (self._sides[side].index - (bucket << level)) - debt * INDEX_UNIT
        self._closing.buckets += 1
        for record in closed:
            record.amount = record.shares = 0
        self.totals = replace(self.totals, accounts_closed=self.totals.accounts_closed + len(closed))

    def _covered(self, log: Log) -> None:
        """What the vault sent; what it paid in all stands in the receipt that follows."""
        sent = log.fields["transferred"] * self.unit if log.fields["transferred"] else 0
        self.insurance_owed += sent
        self.token_balance += sent

    def _settled(self, log: Log) -> None:
        """One move, `settlement._plan` and `_after`. Its receipt is rounded, so what insurance gets is summed anew."""
        receipt, closing = Receipt.from_log(log), self._closing
        loser, winner = self._sides[receipt.loser], self._sides[1 - receipt.loser]
        index_drop = loser.index - receipt.indices[receipt.loser]
        gross = loser.shares * index_drop
        value = closing.value - closing.shares * index_drop
        deficit, surplus = min(max(-value, 0), gross), max(value, 0)
        missed = 0
        if winner.shares:  # what the way that is left would bring the winners, if anything
            way = (receipt.index_price - receipt.mark_after) * (1 if receipt.loser == SHORT else -1)
            # If the scale ended the epoch all of the losers closed there.
            least = receipt.scales is not None and receipt.scales[1 - receipt.loser] < MIN_SCALE
            missed = (loser.shares if least else closing.shares) * loser.scale * max(way, 0)
        bonus = min(surplus, missed)
        stated = (receipt.gross, receipt.deficit, receipt.surplus, receipt.bonus, receipt.adl_shortfall)
        found = (_up(gross), _up(deficit), surplus // INDEX_UNIT, bonus // INDEX_UNIT, _up(missed - bonus))
        if stated != found or closing.buckets != receipt.buckets_closed or self.mark != receipt.mark_before:
            raise LedgerError(f"{receipt} does not follow from the events before it")

        paid = surplus - bonus + (0 if winner.shares else gross - deficit)
        self.insurance_owed += paid // INDEX_UNIT - receipt.covered
        loser.shares -= closing.shares
        for side, index, scale in zip(self._sides, receipt.indices, receipt.scales or (None, None), strict=True):
            side.index, side.scale = index, side.scale if scale is None else scale
        self.mark = receipt.mark_after
        self._closing = _Closing()
        self._add(receipt)

    def _add(self, receipt: Receipt) -> None:
        """Count a receipt in the totals."""
        so_far = self.totals
        self.totals = replace(
            so_far,
            gross=so_far.gross + receipt.gross,
            deficit=so_far.deficit + receipt.deficit,
            covered=so_far.covered + receipt.covered,
            socialized=so_far.socialized + receipt.socialized,
            adl_shortfall=so_far.adl_shortfall + receipt.adl_shortfall,
            settlements=so_far.settlements + 1,
            buckets_closed=so_far.buckets_closed + receipt.buckets_closed,
        )

    def _epoch_ended(self, log: Log) -> None:
        """Both sides close at the mark: what is left in buckets is what everybody keeps."""
        ended = (log.fields["epoch"], log.fields["long_index"], log.fields["short_index"])
        if ended != (self.epoch, self._sides[LONG].index, self._sides[SHORT].index):
            raise LedgerError(f"epoch, long and short index {ended} at the end do not follow from the events before")
        for members in self._members.values():
            for owner in members:
                self._records[owner] = _Record(self._equity(self._records[owner]))
        self._members.clear()
        self._sides = (_Side(), _Side())
        self.epoch += 1

    # ----------------------------------------------------------------------------------------------- vault and modes

    def _swept(self, log: Log) -> None:
        amount = log.fields["amount"] * self.unit
        self.insurance_owed -= amount
        self.token_balance -= amount

    def _reduce_only(self, log: Log) -> None:
        self.guarded = log.fields["on"]

    def _closed(self, log: Log) -> None:
        self.closed_price = log.fields["price"]

    def _no_balance(self, log: Log) -> None:
        """No balance depends on it."""


_BOOKINGS: dict[str, Callable[[Ledger, Log], None]] = {
    "Deployed": Ledger._deployed,
    "AccountUpdated": Ledger._account_updated,
    "Deposited": Ledger._deposited,
    "Withdrawn": Ledger._withdrawn,
    "Traded": Ledger._traded,
    "Liquidated": Ledger._liquidated,
    "BucketClosed": Ledger._bucket_closed,
    "Settled": Ledger._settled,
    "Moved": Ledger._settled,
    "EpochEnded": Ledger._epoch_ended,
    "Swept": Ledger._swept,
    "ReduceOnly": Ledger._reduce_only,
    "OracleReported": Ledger._no_balance,
    "OrderCancelled": Ledger._no_balance,
    "NonceRaised": Ledger._no_balance,
    "Closed": Ledger._closed,
}


def _up(exact: int) -> int:
    """Exact quote (54 digits) as quote (18 digits), rounded up."""
    return -(-exact // INDEX_UNIT)


def place_of(bucket_id: int) -> tuple[int, tuple[int, int, int]]:
    """Epoch of a bucket as events name it, and its side, level and number: epoch 32 · side 1 · level 8 · bucket 128."""
    number = bucket_id & (2**128 - 1)
    if number >> 127:
        number -= 2**128
    return bucket_id >> 137, (bucket_id >> 136 & 1, bucket_id >> 128 & 255, number)


def held_of(closed: Log) -> tuple[int, int]:
    """Shares and debt (quote) that a closed bucket held, by its word: generation 32 · debt 112 · shares 112."""
    word = closed.fields["held"]
    return word & (2**112 - 1), word >> 112 & (2**112 - 1)
